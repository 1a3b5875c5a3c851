"""What rots in a store's files costs what it hit, and says so: short forms of `rot`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from tests.torture import rot
from tests.torture.frame import Report
from tests.torture.rot import BEHIND, CURRENT, NONE, Round
from tests.torture.rot_damage import WHOLE, Damage, flip
from tests.torture.rot_oracle import Seen
from tests.torture.rot_store import (
    REGISTRY,
    Place,
    one_thread,
    open_kept,
    storage_of,
)

from objstore_log._segment import parse_segment_name

SEED = 5
NOTHING = Seen(frozenset(), frozenset())


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log nothing, and use no thread beside the test's own."""
    with rot.quiet(), one_thread():
        yield


@pytest.fixture(scope="module")
def made() -> Round:
    """Give one store with its past."""
    with rot.quiet(), one_thread():
        return Round(SEED, Report("rot", seed=SEED), 40_000)


def seen(made: Round, damage: Damage, catalog: str) -> Seen:
    """Check a damage; give what it cost."""
    return made.case(damage, catalog, every_bucket=True, again=True).check()


def segments(made: Round, bucket: str) -> list[Place]:
    """Give the segments of a bucket in order."""
    log = REGISTRY if bucket == "registry" else made.sample.truths[bucket].log
    return sorted(
        place
        for place in made.sample.now.files
        if place.log == log and parse_segment_name(place.name)
    )


def changed(made: Round, place: Place, start: int, data: bytes) -> Damage:
    """Put other bytes into a file."""
    old = made.sample.now.files[place]
    new = old[:start] + data + old[start + len(data) :]
    return Damage("a kind", place.path, {place: new[: len(old)]})


def exchanged(made: Round, one: Place, two: Place) -> Damage:
    """Exchange two files."""
    files = made.sample.now.files
    return Damage("a kind", one.path, {one: files[two], two: files[one]})


@pytest.mark.parametrize("catalog", [NONE, BEHIND, CURRENT])
def test_old_catalog_beside_a_compacted_log_changes_nothing(
    made: Round, catalog: str
) -> None:
    """No name comes back, none is lost, whatever was reclaimed since."""
    assert seen(made, Damage("none", "none", {}), catalog) == NOTHING


def test_catalogs_of_all_moments_change_nothing(made: Round) -> None:
    """Each goes on from where it was."""
    for kept in made.sample.old:
        case = made.case(
            Damage("none", "none", {}), NONE, every_bucket=True, again=True
        )
        case.images = kept.images
        assert case.check() == NOTHING


@pytest.mark.parametrize("data", [bytes(128), b"", b"?" * 128])
def test_lost_store_file_is_made_again(made: Round, data: bytes) -> None:
    """The registry's segments state the store's id too, and cursors go on."""
    place = Place((), "STORE")
    assert seen(made, Damage("a kind", "STORE", {place: data}), CURRENT) == NOTHING
    gone = Damage("a kind", "STORE", {}, frozenset({place}))
    assert seen(made, gone, CURRENT) == NOTHING

    ids = {
        open_kept(storage_of(files), {})._engine.store_id
        for files in (made.sample.now.files, gone.on(made.sample.now.files))
    }
    assert len(ids) == 1


def test_head_of_another_log_costs_nothing(made: Round) -> None:
    """A head counts for its own log and segment only."""
    one = Place(("logs", made.sample.truths["small"].log), "head")
    two = Place(("logs", made.sample.truths["sealed"].log), "head")
    assert seen(made, exchanged(made, one, two), NONE) == NOTHING


def test_segment_of_another_log_is_not_taken_for_the_own(made: Round) -> None:
    """Both are lost, their names say so, and no name shows what is another's."""
    one, two = segments(made, "small")[0], segments(made, "sealed")[0]
    assert one.name == two.name
    found = seen(made, exchanged(made, one, two), CURRENT)
    assert ("sealed", "kept") in found.lost
    assert not found.stale


def test_segment_in_anothers_place_is_not_taken_for_it(made: Round) -> None:
    """Two segments of one log that have changed their names are both lost."""
    one, *_, two = segments(made, "small")
    seen(made, exchanged(made, one, two), CURRENT)


@pytest.mark.parametrize("bucket", ["small", "large", "sealed"])
def test_segment_without_its_header_keeps_its_records(made: Round, bucket: str) -> None:
    """The marker stands in each of them, when both copies of the header are lost."""
    for place in segments(made, bucket):
        for catalog in (NONE, CURRENT):
            assert seen(made, changed(made, place, 0, bytes(256)), catalog) == NOTHING


@pytest.mark.parametrize("bucket", ["small", "large", "sealed"])
def test_catalog_names_what_a_cut_log_has_lost(made: Round, bucket: str) -> None:
    """Its newest commit is gone, and nobody else knows the names."""
    place = segments(made, bucket)[-1]
    for size in range(0, len(made.sample.now.files[place]), 331):
        cut = Damage("a kind", place.path, {place: made.sample.now.files[place][:size]})
        assert not seen(made, cut, CURRENT).stale


def test_catalog_names_the_buckets_that_the_registry_has_lost(made: Round) -> None:
    """They are listed, raise, and are told by verify; none vanishes or comes back."""
    (place,) = segments(made, "registry")
    seen(
        made, changed(made, place, 0, bytes(len(made.sample.now.files[place]))), CURRENT
    )


def test_verify_reads_the_frame_of_every_segment(made: Round) -> None:
    """Copies of headers and footers behind the first segment, too."""
    files = made.sample.now.files
    for place in segments(made, "small"):
        spots = [200]
        if made.layouts[place].usable < len(files[place]):
            spots.append(len(files[place]) - 70)
        for position in spots:
            damage = flip(place, files[place], position, WHOLE)
            with open_kept(storage_of(damage.on(files)), {}) as store:
                assert not store.verify().ok, (place.path, position)


def test_verify_tells_of_a_cut_end_when_it_was_written_on(made: Round) -> None:
    """The next segment states the new length of the file, and what it held before."""
    place = segments(made, "sealed")[-1]
    cut = Damage("a kind", place.path, {place: made.sample.now.files[place][:900]})
    storage = storage_of(cut.on(made.sample.now.files))
    open_kept(storage, {}).close()

    with open_kept(storage, {}) as store:
        assert not store.object_store("sealed").verify().ok


def test_verify_names_metas_whose_segment_is_missing(made: Round) -> None:
    """The catalog has them; nothing else of the log says that they were."""
    (place,) = segments(made, "sealed")[:1]
    gone = Damage("a kind", place.path, {}, frozenset({place}))
    with open_kept(
        storage_of(gone.on(made.sample.now.files)), made.images[CURRENT]
    ) as store:
        named = {found.name for found in store.object_store("sealed").verify().damaged}
        assert {"kept", "empty", "link"} <= named


@pytest.mark.parametrize("bucket", ["registry", "small", "large"])
def test_missing_segment_is_named_by_opening_verify_and_a_watch(
    made: Round, bucket: str
) -> None:
    """First, middle and last: it is not taken for one that was reclaimed."""
    for place in segments(made, bucket):
        gone = Damage("a kind", place.path, {}, frozenset({place}))
        seen(made, gone, CURRENT)
        with open_kept(storage_of(gone.on(made.sample.now.files)), {}) as store:
            # with other buckets' logs the loss of the registry is told, too
            assert store.damaged, place.path
            assert not store.verify().ok, place.path


@pytest.mark.slow
def test_every_kind_of_damage_costs_what_it_hit() -> None:
    """A sample of them all, on one small store."""
    report = Report("rot", seed=7)
    rot.run_round(7, report, math.inf, bytes_min=30_000, others_max=150)
    assert report.violations == 0


@pytest.mark.slow
def test_flipped_bytes_cost_one_content_at_most() -> None:
    """Bytes of contents under an open store, all others before it is opened."""
    report = Report("rot", seed=8)
    one = Round(8, report, 30_000)
    one.flip_all(math.inf, every=37)
    assert report.violations == 0
    assert report.counts["flipped bytes"] > 700


@pytest.mark.slow
def test_files_that_are_something_else_are_left_alone() -> None:
    """When the file is back everything is there; files of others stay."""
    assert rot.something_else(9, Report("rot", seed=9)) == []

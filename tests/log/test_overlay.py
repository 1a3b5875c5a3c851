"""The overlay against a plain list, and the cache of subjects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore_log._notes import NOTE_BYTES, Notes
from objstore_log._overlay import (
    CACHED_BODY_BYTES_MAX,
    Applied,
    Overlay,
    OverlayBatch,
    SubjectCache,
)
from objstore_log._record import NO_NUID, SUBJECT_KINDS, Kind, Record, subject_of


def record(
    sequence: int, key: bytes = b"a", kind: Kind = Kind.META, body: bytes = b"body"
) -> Record:
    """Make a record."""
    return Record(kind, sequence, sequence, key, body, NO_NUID, 0, 0, 0, 0)


def through(sequence: int, position: int | None = None) -> Applied:
    """Make the end of a commit."""
    return Applied(sequence, sequence, 1, sequence if position is None else position)


@pytest.fixture
def overlay() -> Overlay:
    """Give an overlay of three commits: a b, a c, and one without rows."""
    overlay = Overlay(4)
    overlay.add([record(1, b"a"), record(2, b"b")], through(2))
    overlay.add([record(3, b"a"), record(5, b"c")], through(5))
    overlay.add([], through(9))
    return overlay


def test_last_is_the_newest_record(overlay: Overlay) -> None:
    """A subject's newest record is given, and nothing for others."""
    assert overlay.last(b"\x02a") == record(3, b"a")
    assert overlay.last(b"\x02z") is None


def test_abort_has_no_subject() -> None:
    """An abort is kept for projections and found by nobody."""
    overlay = Overlay(4)
    overlay.add([record(1, b"", Kind.ABORT)], through(1))

    assert overlay.rows == 1
    assert overlay.subjects(b"", None) == []


def test_superseded_records_are_kept(overlay: Overlay) -> None:
    """A batch holds every record in order, superseded ones too."""
    batch = overlay.take_batch(100, 5)

    assert batch is not None
    assert [1, 2, 3, 5] == [item.sequence for item in batch.records]
    assert through(5) == batch.through


@pytest.mark.parametrize(
    ("max_rows", "durable_sequence", "expected"),
    [
        (1, 9, through(2)),
        (3, 9, through(2)),
        (4, 8, through(5)),
        (4, 9, through(9)),
        (4, 4, through(2)),
        (4, 1, None),
    ],
)
def test_batch_ends_at_a_durable_commit(
    overlay: Overlay, max_rows: int, durable_sequence: int, expected: Applied | None
) -> None:
    """Whole commits are taken, at least one, none above the durable sequence."""
    batch = overlay.take_batch(max_rows, durable_sequence)

    assert expected == (None if batch is None else batch.through)


def test_dropped_commits_are_gone(overlay: Overlay) -> None:
    """What the catalog has is forgotten, a newer record of the subject is not."""
    overlay.drop_through(2)

    assert overlay.rows == 2
    assert [(b"\x02a", record(3, b"a")), (b"\x02c", record(5, b"c"))] == (
        overlay.subjects(b"", None)
    )


def test_dropping_all_leaves_room(overlay: Overlay) -> None:
    """An overlay is full at its limit and empty when everything was applied."""
    full = overlay.is_full
    overlay.drop_through(9)

    assert [True, False] == [full, overlay.is_full]
    assert overlay.rows == 0
    assert overlay.through is None


def test_cleared_overlay_is_empty(overlay: Overlay) -> None:
    """Nothing stays behind `clear`, and commits can follow."""
    overlay.clear()
    assert overlay.subjects(b"", None) == []
    overlay.add([record(1)], through(1))
    assert overlay.rows == 1


def test_overlay_is_full_by_bytes() -> None:
    """Large bodies fill an overlay before its rows do."""
    overlay = Overlay(100, bytes_limit=10)
    overlay.add([record(1, body=bytes(10))], through(1))

    assert overlay.is_full


def test_commits_without_rows_take_one_place() -> None:
    """A long put of a thousand commits costs no more than one."""
    overlay = Overlay(4)
    for sequence in range(1, 1_001):
        overlay.add([], through(sequence))

    assert overlay.take_batch(1, 999) is None
    assert OverlayBatch([], through(1_000)) == overlay.take_batch(1, 1_000)


@pytest.mark.parametrize(
    ("page", "limit", "expected"),
    [
        (
            [(b"\x02a", 1), (b"\x02d", 4)],
            9,
            [(b"\x02a", 3), (b"\x02b", 2), (b"\x02c", 5), (b"\x02d", 4)],
        ),
        ([(b"\x02a", 1), (b"\x02b", 2)], 2, [(b"\x02a", 3), (b"\x02b", 2)]),
        ([(b"\x02a", 1)], 2, [(b"\x02a", 3), (b"\x02b", 2)]),
        ([(b"\x02a", 7)], 1, [(b"\x02a", 7)]),
        ([], 0, []),
    ],
)
def test_merge_shows_both(
    overlay: Overlay,
    page: list[tuple[bytes, int]],
    limit: int,
    expected: list[tuple[bytes, int]],
) -> None:
    """A merged page is what the catalog would show had it applied everything."""
    assert expected == overlay.merge(page, b"", None, limit)


def test_merge_does_not_know_what_is_beside(overlay: Overlay) -> None:
    """Rows keep what the catalog has beside them unless they are newer here."""
    page = [(b"\x02a", 1, "one"), (b"\x02b", 2, "two"), (b"\x02d", 4, "four")]

    assert [
        (b"\x02a", 3, None),
        (b"\x02b", 2, "two"),
        (b"\x02c", 5, None),
        (b"\x02d", 4, "four"),
    ] == overlay.merge(page, b"", None, 9, width=3)


KINDS = st.sampled_from([Kind.META, Kind.SEAL, Kind.ABORT])
KEYS = st.sampled_from([b"", b"a", b"b", b"c"])
COMMITS = st.lists(st.lists(st.tuples(KINDS, KEYS), max_size=4), max_size=10)
BOUNDS = st.builds(subject_of, KINDS, KEYS)


@given(
    shapes=COMMITS,
    applied=st.integers(0, 10),
    page=st.integers(1, 6),
    start=st.just(b"") | BOUNDS,
    stop=st.none() | BOUNDS,
)
def test_overlay_over_catalog_is_the_whole(
    shapes: list[list[tuple[Kind, bytes]]],
    applied: int,
    page: int,
    start: bytes,
    stop: bytes | None,
) -> None:
    """However much was applied, catalog and overlay together show the same."""
    overlay, below, whole = Overlay(5), dict[bytes, int](), dict[bytes, int]()
    sequence, end = 0, 0
    for number, shape in enumerate(shapes):
        records = [
            record(sequence + i, k, kind) for i, (kind, k) in enumerate(shape, 1)
        ]
        sequence += len(shape)
        overlay.add(records, through(sequence, number))
        newest = {r.subject: r.sequence for r in records if r.kind in SUBJECT_KINDS}
        whole |= newest
        if number < applied:
            below |= newest
            end = sequence
    overlay.drop_through(end)

    def listed(rows: dict[bytes, int]) -> list[tuple[bytes, int]]:
        within = [
            row
            for row in rows.items()
            if row[0] >= start and (stop is None or row[0] < stop)
        ]
        return sorted(within)[:page]

    assert listed(whole) == overlay.merge(listed(below), start, stop, page)
    for subject, last in whole.items():
        kept = overlay.last(subject)
        assert last == (below[subject] if kept is None else kept.sequence)
    assert overlay.is_full == (overlay.rows >= 5)


def test_cache_forgets_the_least_recently_used() -> None:
    """A subject that was asked for stays when the oldest has to go."""
    cache = SubjectCache(2)
    cache.update([record(1, b"a"), record(2, b"b")])
    assert cache.get(b"\x02a") == (1, record(1, b"a"))
    cache.update([record(3, b"c")])

    assert cache.get(b"\x02b") is None
    assert cache.get(b"\x02a") is not None
    assert len(cache) == 2


def test_cache_knows_absent_subjects() -> None:
    """A look-up that found nothing is remembered as that."""
    cache = SubjectCache(2)
    cache.fill(b"x", 0, None, cache.generation)

    assert cache.get(b"x") == (0, None)


def test_cache_refuses_an_outdated_look_up() -> None:
    """A look-up that a commit overtook is not remembered."""
    cache = SubjectCache(1)
    before = cache.generation
    cache.update([record(5, b"a")])
    cache.update([record(6, b"b"), record(7, b"", Kind.ABORT)])
    cache.fill(b"\x02a", 1, record(1, b"a"), before)

    assert cache.get(b"\x02a") is None
    assert cache.get(b"\x02b") == (6, record(6, b"b"))


def test_cache_keeps_no_large_bodies() -> None:
    """Of a record with a large body only the sequence is remembered."""
    cache = SubjectCache(1)
    cache.update([record(1, body=bytes(CACHED_BODY_BYTES_MAX + 1))])

    assert cache.get(b"\x02a") == (1, None)


def test_notes_are_kept_until_a_commit_of_their_subject() -> None:
    """A note says something of the newest record, and of no later one."""
    cache = SubjectCache(1)
    for subject in (b"\x02a", b"\x02b"):
        cache.notes.put(subject, b"note")
    cache.update([record(1, b"a"), record(2, b"b", Kind.ABORT)])

    assert [cache.notes.get(b"\x02a"), cache.notes.get(b"\x02b")] == [None, b"note"]
    cache.clear()
    assert len(cache.notes) == 0


@given(st.lists(st.tuples(st.binary(max_size=3), st.none() | st.binary(max_size=9))))
def test_notes_are_bounded_in_bytes(
    changes: list[tuple[bytes, bytes | None]],
) -> None:
    """The newest notes stay as far as they fit, whatever was forgotten meanwhile."""
    limit = 3 * NOTE_BYTES
    notes, model = Notes(limit), dict[bytes, bytes]()
    for subject, note in changes:
        model.pop(subject, None)
        if note is None:
            notes.discard(subject)
            continue
        notes.put(subject, note)
        model[subject] = note
        while sum(NOTE_BYTES + len(b"".join(item)) for item in model.items()) > limit:
            del model[next(iter(model))]

    assert model == {subject: notes.get(subject) for subject in model}
    assert len(model) == len(notes)


def test_cleared_cache_refuses_earlier_look_ups() -> None:
    """Clearing outdates the look-ups that are under way."""
    cache = SubjectCache(1)
    before = cache.generation
    cache.clear()
    cache.fill(b"x", 1, None, before)

    assert len(cache) == 0

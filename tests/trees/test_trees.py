"""Exporting a bucket to a directory tree, and importing one."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.trees.test_tree_names import HOSTILE

import objstore
from objstore import BusyError, ObjectInfo, StorageError, blocking
from objstore.transfer._tree_files import Tree

MANIFEST = ".objstore-export.jsonl"


@pytest.fixture
def store() -> Iterator[blocking.Store]:
    """Give a store in memory."""
    with objstore.open("memory:") as opened:
        yield opened


@pytest.fixture
def bucket(store: blocking.Store) -> blocking.ObjectStore:
    """Give a bucket with an object of each kind."""
    made = store.create_object_store("b")
    made.put("docs/a.txt", b"content", "text", metadata={"k": "v"}, headers={"A": "b"})
    made.put("docs/empty", b"")
    made.put("large", bytes(range(256)) * 20_000, content_type="image/png")
    made.put("named", b"x", filename="other.bin", ttl=3600)
    made.add_link("link", "docs/a.txt")
    return made


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Give where a tree goes."""
    return tmp_path / "tree"


def _said(info: ObjectInfo) -> dict[str, Any]:
    """Give what is said of an object, without the time that an import keeps."""
    metadata = dict(info.metadata or {})
    metadata.pop("mtime", None)
    return {
        "size": info.size,
        "digest": info.digest,
        "description": info.description,
        "headers": info.headers,
        "metadata": metadata,
        "filename": info.filename,
        "link": info.link and info.link.name,
    }


def _state(bucket: blocking.ObjectStore, prefix: str = "") -> dict[str, Any]:
    return {info.name[len(prefix) :]: _said(info) for info in bucket.list(prefix)}


def _files(tree: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(tree)): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


def test_export_makes_plain_files_with_their_times(
    bucket: blocking.ObjectStore, tree: Path
) -> None:
    """Each object is a file under its name, with its content and its time."""
    report = bucket.export_tree(tree)

    assert {"docs/a.txt", "docs/empty", "large", "named"} == set(_files(tree))
    assert b"content" == (tree / "docs" / "a.txt").read_bytes()
    changed = (tree / "large").stat().st_mtime
    assert abs(changed - bucket.get_info("large").mtime.timestamp()) < 1e-3
    assert (5, 0, {}, {}) == (
        report.transferred,
        report.unchanged,
        report.skipped,
        report.damaged,
    )


def test_import_of_an_export_is_the_same(
    store: blocking.Store, bucket: blocking.ObjectStore, tree: Path
) -> None:
    """Names, contents and all that is said of them come back, and links with them."""
    bucket.export_tree(tree)
    other = store.create_object_store("other")

    report = other.import_tree(tree)

    assert _state(bucket) == _state(other)
    assert "other" == getattr(other.get_info("link").link, "bucket", None)
    assert bucket.get("large") == other.get("large")
    before, after = bucket.get_info("named"), other.get_info("named")
    assert before.expires is not None
    assert after.expires is not None
    assert abs(before.expires - after.expires) < timedelta(seconds=1)
    assert before.mtime.isoformat() == (after.metadata or {})["mtime"]
    assert (5, {}, {}) == (report.transferred, report.skipped, report.damaged)


def test_prefix_is_taken_off_and_put_before(
    store: blocking.Store, bucket: blocking.ObjectStore, tree: Path
) -> None:
    """What is exported of a prefix is imported under another one."""
    bucket.export_tree(tree, "docs/")
    report = bucket.import_tree(tree, "copy/of/")

    assert {"a.txt", "empty"} == set(_files(tree))
    assert _state(bucket, "docs/") == _state(bucket, "copy/of/")
    assert 2 == report.transferred


def test_times_outlive_a_second_round(
    store: blocking.Store, bucket: blocking.ObjectStore, tree: Path, tmp_path: Path
) -> None:
    """A file that went in and out again has the time that it had at first."""
    bucket.export_tree(tree)
    old = datetime(2001, 2, 3, tzinfo=UTC).timestamp()
    (tree / MANIFEST).unlink()
    os.utime(tree / "large", (old, old))
    other = store.create_object_store("other")
    other.import_tree(tree)
    other.export_tree(tmp_path / "again")

    assert old == (tmp_path / "again" / "large").stat().st_mtime


def test_second_export_transfers_what_differs_alone(
    bucket: blocking.ObjectStore, tree: Path
) -> None:
    """What is there with its digest is left; what is missing or other is written."""
    bucket.export_tree(tree)
    (tree / "large").write_bytes(b"\0" * (tree / "large").stat().st_size)
    (tree / "docs" / "a.txt").unlink()
    bucket.put("new", b"y")
    before = (tree / "named").stat().st_ino

    report = bucket.export_tree(tree)

    assert (3, 3) == (report.transferred, report.unchanged)
    assert bucket.get("large") == (tree / "large").read_bytes()
    assert before == (tree / "named").stat().st_ino


def test_second_import_transfers_what_differs_alone(
    store: blocking.Store, bucket: blocking.ObjectStore, tree: Path
) -> None:
    """What the bucket has with the digest is left; what is said may be mended."""
    bucket.export_tree(tree)
    other = store.create_object_store("other")
    other.import_tree(tree)
    other.update_meta("docs/a.txt", objstore.ObjectMeta(description="changed"))
    other.delete("large")
    before = other.get_info("named").seq

    report = other.import_tree(tree)

    assert (1, 4) == (report.transferred, report.unchanged)
    assert _state(bucket) == _state(other)
    assert before == other.get_info("named").seq


def test_plain_tree_is_imported_as_it_is(
    bucket: blocking.ObjectStore, tree: Path
) -> None:
    """Without a manifest the paths are the names, whatever is in them."""
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "50%25.txt").write_bytes(b"one")
    (tree / "b\udcff").write_bytes(b"no text")
    (tree / "out").symlink_to("/etc/passwd")
    (tree / "away").symlink_to("/etc")

    report = bucket.import_tree(tree, "in/")
    again = bucket.import_tree(tree, "in/")

    info = bucket.get_info("in/sub/50%25.txt")
    assert ("text/plain", "50%25.txt") == (info.content_type, info.filename)
    assert {"b\udcff", "out", "away"} == set(report.skipped)
    assert (1, 0) == (report.transferred, again.transferred)
    assert 1 == len(bucket.list("in/"))


def test_changed_file_is_damage(
    store: blocking.Store, bucket: blocking.ObjectStore, tree: Path
) -> None:
    """A file that is not what was exported is named and not imported."""
    bucket.export_tree(tree)
    (tree / "docs" / "a.txt").write_bytes(b"CONTENT")
    (tree / "named").unlink()
    other = store.create_object_store("other")

    tried = other.import_tree(tree, dry_run=True)
    report = other.import_tree(tree)

    assert {"docs/a.txt"} == set(report.damaged) == set(tried.damaged)
    assert {"named"} == set(report.skipped)
    assert {"docs/empty", "large", "link"} == set(_state(other))


def test_damaged_object_stops_no_export(tmp_path: Path, tree: Path) -> None:
    """An object that cannot be read is named; the others are exported."""
    with objstore.open(tmp_path / "s") as store:
        bucket = store.create_object_store("b")
        for name in ("a", "b", "c"):
            bucket.put(name, name.encode() * 20_000)
        (place,) = (tmp_path / "s" / "logs" / "00000001").glob("*.seg")
        data = bytearray(place.read_bytes())
        data[data.index(b"bbbb") + 500] ^= 1
        place.write_bytes(data)
        report = bucket.export_tree(tree)

    assert {"b"} == set(report.damaged)
    assert {"a", "c"} == set(_files(tree))


def test_dry_run_changes_nothing(
    store: blocking.Store, bucket: blocking.ObjectStore, tree: Path
) -> None:
    """Only looking says what would be done."""
    would = bucket.export_tree(tree, dry_run=True)
    assert not tree.exists()
    assert would.transferred == bucket.export_tree(tree).transferred
    other = store.create_object_store("other")

    report = other.import_tree(tree, dry_run=True)

    assert (5, True) == (report.transferred, report.dry_run)
    assert [] == other.list()


def test_nothing_is_written_outside(
    bucket: blocking.ObjectStore, tree: Path, tmp_path: Path
) -> None:
    """Symbolic links in the tree lead nowhere, and no name is a way out."""
    outside = tmp_path / "outside"
    outside.mkdir()
    tree.mkdir()
    (tree / "docs").symlink_to(outside)
    (tree / "large").symlink_to(outside / "large")
    bucket.put("../escaped", b"x")
    bucket.put(str(outside / "rooted"), b"x")

    report = bucket.export_tree(tree)

    assert [] == list(outside.iterdir())
    assert not (tmp_path / "escaped").exists()
    assert {"docs/a.txt", "docs/empty"} == set(report.skipped)
    assert not (tree / "large").is_symlink()


def test_name_may_be_a_directory_of_others(
    store: blocking.Store, bucket: blocking.ObjectStore, tree: Path
) -> None:
    """A file makes way when a directory of its name is needed, early or late."""
    bucket.put("docs", b"file")
    bucket.put("large/inside", b"late")
    bucket.put("large/inside/deeper", b"later")
    bucket.export_tree(tree)
    bucket.put("named/x", b"after")
    report = bucket.export_tree(tree)
    other = store.create_object_store("other")
    other.import_tree(tree)

    assert {} == report.skipped
    assert _state(bucket) == _state(other)
    assert b"file" == (tree / "docs%").read_bytes()


def test_files_of_others_are_left(bucket: blocking.ObjectStore, tree: Path) -> None:
    """What the export did not write is neither removed nor moved."""
    tree.mkdir()
    (tree / "docs").write_bytes(b"mine")

    report = bucket.export_tree(tree)

    assert {"docs/a.txt", "docs/empty"} == set(report.skipped)
    assert b"mine" == (tree / "docs").read_bytes()


def test_two_exports_do_not_mix(bucket: blocking.ObjectStore, tree: Path) -> None:
    """Of two exports into one directory one is told to wait."""
    held = Tree(str(tree))
    held.open(create=True)

    with pytest.raises(BusyError):
        bucket.export_tree(tree)
    held.close()
    bucket.export_tree(tree)


def test_missing_directory_is_told(bucket: blocking.ObjectStore, tree: Path) -> None:
    """There is nothing to import from what is not there."""
    with pytest.raises(StorageError, match="import from"):
        bucket.import_tree(tree)


def test_torn_manifest_costs_its_last_line(
    store: blocking.Store, bucket: blocking.ObjectStore, tree: Path
) -> None:
    """A kill while a line is written costs that line, and the next export mends it."""
    bucket.export_tree(tree)
    place = tree / MANIFEST
    place.write_bytes(place.read_bytes()[:-7])

    report = bucket.export_tree(tree)
    other = store.create_object_store("other")
    other.import_tree(tree)

    assert 4 == report.unchanged + report.transferred - 1
    assert _state(bucket) == _state(other)


@pytest.mark.anyio
async def test_asynchronous_trees_are_the_same(tree: Path) -> None:
    """The asynchronous API exports and imports on both event loops."""
    async with objstore.connect("memory:") as store:
        bucket = await store.create_object_store("b")
        await bucket.put("a/b", b"content")
        await bucket.export_tree(tree)
        await bucket.import_tree(tree, "again/")
        assert b"content" == await bucket.get("again/a/b")


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.dictionaries(
        HOSTILE.filter(lambda name: len(name.encode()) <= 1000),
        st.tuples(
            st.binary(max_size=40),
            st.dictionaries(st.text("ab%/.", min_size=1), st.text("ab\u20ac%")),
        ),
        max_size=6,
    )
)
def test_round_trip_of_hostile_names(
    tmp_path: Path, objects: dict[str, tuple[bytes, dict[str, str]]]
) -> None:
    """Whatever the names, the tree gives back what the bucket had, twice as once."""
    tree = tmp_path / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    with objstore.open("memory:") as store:
        bucket = store.create_object_store("b")
        for name, (content, metadata) in objects.items():
            bucket.put(name, content, metadata=metadata)
        first = bucket.export_tree(tree)
        again = bucket.export_tree(tree)
        other = store.create_object_store("other")
        other.import_tree(tree)

        assert {} == first.skipped
        assert (len(objects), 0) == (first.transferred, again.transferred)
        assert _state(bucket) == _state(other)
        assert {name: pair[0] for name, pair in objects.items()} == {
            info.name: other.get(info.name) for info in other.list()
        }

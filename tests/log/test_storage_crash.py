"""The crash simulator: what survives, what may not, and how many disks there are."""

from __future__ import annotations

import pytest

from objstore_log.testing import Crashed, CrashStorage
from objstore_log.testing.crash_disks import Rules

Files = dict[str, bytes]
RULES: list[Rules] = ["posix", "ext4"]


@pytest.fixture
def storage() -> CrashStorage:
    """Give an empty disk."""
    return CrashStorage()


def put(storage: CrashStorage, name: str, content: bytes, *, synced: bool) -> None:
    """Write one file, with its bytes and its name synced or neither."""
    file = storage.open(name, create=True)
    file.write_at(0, [content])
    if synced:
        file.sync()
        storage.sync_directory()


def left(
    storage: CrashStorage, rules: Rules = "posix", limit: int = 512
) -> list[Files]:
    """Give the files of every disk that a power cut can leave now."""
    return [disk.files() for disk in storage.disks(rules=rules, limit=limit)]


@pytest.mark.parametrize("rules", RULES)
def test_synced_files_survive_alone(storage: CrashStorage, rules: Rules) -> None:
    """When everything is synced there is one disk."""
    put(storage, "a", b"one", synced=True)
    put(storage.directory("d", create=True), "b", b"two", synced=True)
    storage.sync_directory()
    assert left(storage, rules) == [{"a": b"one", "d/b": b"two"}]


@pytest.mark.parametrize("rules", RULES)
def test_synced_bytes_survive_under_unsynced_ones(
    storage: CrashStorage, rules: Rules
) -> None:
    """A later write behind a synced range never harms it."""
    put(storage, "a", b"kept", synced=True)
    storage.open("a").write_at(4, [b"maybe", b"more"])
    found = left(storage, rules)
    assert all(files["a"].startswith(b"kept") for files in found)
    assert {"a": b"kept"} in found
    assert {"a": b"keptmaybemore"} in found


def test_unsynced_write_has_every_fate(storage: CrashStorage) -> None:
    """It is kept, dropped, torn, zero-filled, or only its end arrives."""
    put(storage, "a", b"", synced=True)
    storage.open("a").write_at(0, [b"abc", b"def"])
    found = {files["a"] for files in left(storage)}
    assert {b"", b"a", b"abc", b"abcde", b"abcdef"} <= found
    assert {bytes(6), b"abc\0\0\0", b"\0bcdef"} <= found


def test_unsynced_write_may_leave_bytes_of_another_file(storage: CrashStorage) -> None:
    """Under posix rules its blocks still hold what they held before, or from a tear."""
    put(storage, "old", b"123456", synced=True)
    put(storage, "a", b"", synced=True)
    storage.open("a").write_at(2, [b"ab", b"cd"])
    found = {files["a"] for files in left(storage)}
    assert {b"\0\x003456", b"\0\0ab56"} <= found
    assert not any(b"56" in files["a"] for files in left(storage, "ext4"))


def test_posix_writes_are_reordered_and_ext4_ones_are_not(
    storage: CrashStorage,
) -> None:
    """The second write without the first is a disk under posix rules only."""
    put(storage, "a", b"", synced=True)
    file = storage.open("a")
    file.write_at(0, [b"11"])
    file.write_at(2, [b"22"])
    assert {"a": b"\0\x0022"} in left(storage, "posix")
    assert {"a": b"\0\x0022"} not in left(storage, "ext4")
    assert {"a": b"11"} in left(storage, "ext4")


def test_synced_bytes_need_a_synced_name(storage: CrashStorage) -> None:
    """A file whose directory was not synced may vanish as a whole."""
    storage.open("a", create=True).write_at(0, [b"x"])
    storage.open("a").sync()
    assert sorted(map(str, left(storage))) == ["{'a': b'x'}", "{}"]


def test_synced_name_says_nothing_about_bytes(storage: CrashStorage) -> None:
    """After a directory's sync the file is there, its bytes need not be."""
    storage.open("a", create=True).write_at(0, [b"x"])
    storage.sync_directory()
    assert {files["a"] for files in left(storage)} == {b"", b"x", b"\0"}


@pytest.mark.parametrize("rules", RULES)
def test_replacement_is_atomic(storage: CrashStorage, rules: Rules) -> None:
    """The target is the old or the new file, and the source goes with it."""
    put(storage, "a", b"old", synced=True)
    put(storage, "a.new", b"new", synced=True)
    storage.replace("a.new", "a")
    expected = [{"a": b"new"}, {"a": b"old", "a.new": b"new"}]
    assert sorted(map(str, left(storage, rules))) == sorted(map(str, expected))


def test_replacement_without_a_file_sync_can_leave_nothing(
    storage: CrashStorage,
) -> None:
    """A rename does not sync what it renames."""
    put(storage, "a", b"old", synced=True)
    put(storage, "b", b"new", synced=False)
    storage.replace("b", "a")
    storage.sync_directory()
    assert {"a": b""} in left(storage)


@pytest.mark.parametrize("rules", RULES)
def test_removed_name_comes_back_until_it_is_synced(
    storage: CrashStorage, rules: Rules
) -> None:
    """A removal is durable after the directory's sync."""
    put(storage, "a", b"x", synced=True)
    storage.remove("a")
    assert {"a": b"x"} in left(storage, rules)
    storage.sync_directory()
    assert left(storage, rules) == [{}]


def test_posix_names_are_independent_and_ext4_ones_are_ordered(
    storage: CrashStorage,
) -> None:
    """A later name without an earlier one is a disk under posix rules only."""
    inner = storage.directory("d", create=True)
    storage.sync_directory()
    inner.open("first", create=True)
    storage.open("second", create=True)
    assert {"second": b""} in left(storage, "posix")
    assert {"second": b""} not in left(storage, "ext4")
    storage.sync_directory()
    assert {"second": b""} in left(storage, "posix")
    assert left(storage, "ext4") == [{"d/first": b"", "second": b""}]


def test_lost_directory_takes_its_files_along(storage: CrashStorage) -> None:
    """A file in a directory whose own name was not synced can vanish."""
    put(storage.directory("d", create=True), "a", b"x", synced=True)
    assert sorted(map(str, left(storage))) == ["{'d/a': b'x'}", "{}"]


def test_punch_happens_or_not(storage: CrashStorage) -> None:
    """An unsynced punch leaves the old bytes or zeros; synced it leaves zeros."""
    put(storage, "a", b"x" * 8, synced=True)
    file = storage.open("a")
    assert file.punch(2, 4)
    assert {files["a"] for files in left(storage)} == {b"x" * 8, b"xx\0\0\0\0xx"}
    file.sync()
    assert left(storage) == [{"a": b"xx\0\0\0\0xx"}]


@pytest.mark.parametrize("rules", RULES)
def test_failed_sync_loses_bytes_for_good(storage: CrashStorage, rules: Rules) -> None:
    """They stay readable, the next sync says it is fine, the power cut takes them."""
    put(storage, "a", b"", synced=True)
    file = storage.open("a")
    file.write_at(0, [b"lost"])
    storage.fail("sync")
    with pytest.raises(OSError, match="Input/output error"):
        file.sync()
    file.write_at(4, [b"kept"])
    file.sync()
    assert file.read_at(0, 9) == b"lostkept"
    assert {"a": bytes(4) + b"kept"} in left(storage, rules)
    assert all(files["a"].endswith(b"kept") for files in left(storage, rules))


def test_every_point_of_the_trace_has_its_disks(storage: CrashStorage) -> None:
    """A cut before a mutation knows nothing of it."""
    put(storage, "a", b"x", synced=True)
    assert storage.mutation_count == 4
    assert [disk.files() for disk in storage.disks(0)] == [{}]
    counts = [len(list(storage.disks(point))) for point in range(5)]
    assert counts == [1, 2, 4, 2, 1]


def test_disks_are_distinct_and_exhaustive_when_few(storage: CrashStorage) -> None:
    """Three independent names have two to the third disks."""
    for name in "abc":
        storage.open(name, create=True)
    disks = list(storage.disks())
    assert len(disks) == len(set(disks)) == 8
    assert len({disk.digest for disk in storage.disks()}) == 8


def test_equal_disks_hash_alike_across_runs(storage: CrashStorage) -> None:
    """The hash depends on names and bytes alone."""
    put(storage, "a", b"x", synced=True)
    other = CrashStorage()
    put(other, "b", b"x", synced=True)
    other.replace("b", "a")
    other.sync_directory()
    assert set(storage.disks()) == set(other.disks())
    (disk,) = storage.disks()
    assert disk.digest.hex() == "d51932e6d1dd59d2e2f51158ee524550"


@pytest.mark.parametrize("rules", RULES)
def test_many_choices_are_sampled_within_the_limit(
    storage: CrashStorage, rules: Rules
) -> None:
    """All kept, all dropped and each single loss come first, repeatably."""
    names = [f"{index:02}" for index in range(20)]
    for name in names:
        put(storage, name, name.encode(), synced=False)
    disks = list(storage.disks(limit=300, rules=rules))
    assert 100 < len(disks) <= 300
    assert disks == list(storage.disks(limit=300, rules=rules))
    found = [disk.files() for disk in disks]
    assert found[:2] == [{name: name.encode() for name in names}, {}]
    if rules == "posix":
        assert all(any(set(names) - set(f) == {n} for f in found) for n in names)
        assert list(storage.disks(limit=300, seed=1)) != disks


def test_disk_tells_what_was_lost(storage: CrashStorage) -> None:
    """Its representation is what a failing test prints."""
    storage.open("a", create=True)
    assert [repr(disk) for disk in storage.disks()] == [
        "<Disk cut after 1, all kept>",
        "<Disk cut after 1, dropped: create a>",
    ]


def test_crash_during_recovery_starts_from_the_mounted_disk(
    storage: CrashStorage,
) -> None:
    """A mounted disk has its own trace, on top of what it found."""
    put(storage, "a", b"base", synced=True)
    (disk,) = storage.disks()
    first, second = disk.mount(), disk.mount()
    first.open("a").write_at(4, [b"!"])
    first.remove("a")
    assert first.mutation_count == 2
    assert {"a": b"base"} in left(first)
    assert {"a": b"base!"} in left(first)
    assert {} in left(first)
    assert left(second) == [disk.files()]


def test_kill_keeps_unsynced_bytes_until_the_power_cut(storage: CrashStorage) -> None:
    """Process death loses nothing, and makes nothing durable."""
    put(storage, "a", b"x", synced=False)
    again = storage.kill()
    assert again.open("a").read_at(0, 9) == b"x"
    assert {} in left(again)


def test_killed_process_changes_nothing_more(storage: CrashStorage) -> None:
    """Old handles of a dead process raise and leave the disk alone."""
    file = storage.open("a", create=True)
    again = storage.kill()
    calls = (
        lambda: file.write_at(0, [b"x"]),
        file.sync,
        lambda: storage.open("b", create=True),
        lambda: storage.try_lock("lock"),
        lambda: file.try_lock(shared=True),
        storage.sync_directory,
    )
    for call in calls:
        with pytest.raises(Crashed):
            call()
    assert (again.names(), again.open("a").size()) == (["a"], 0)


@pytest.mark.parametrize(("is_before", "names"), [(True, ["a"]), (False, ["a", "b"])])
def test_kill_point_lies_before_or_after_the_mutation(
    storage: CrashStorage, is_before: bool, names: list[str]
) -> None:
    """The process dies at the chosen mutation and stays dead."""
    (storage.kill_before if is_before else storage.kill_after)(2)
    storage.open("a", create=True)
    for name in "bc":
        with pytest.raises(Crashed):
            storage.open(name, create=True)
    assert storage.kill().names() == names


def test_locks_die_with_their_process_only(storage: CrashStorage) -> None:
    """A second process is locked out until the first one is killed."""
    other = storage.process()
    assert storage.try_lock("lock") is not None
    assert other.try_lock("lock") is None
    other.kill()
    assert storage.process().try_lock("lock") is None
    again = storage.kill()
    assert again.lock_holder("lock") is None
    assert again.try_lock("lock") is not None


def test_locks_die_at_a_mount(storage: CrashStorage) -> None:
    """A lock is no part of a disk."""
    assert storage.try_lock("lock") is not None
    for disk in storage.disks():
        assert disk.mount().try_lock("lock") is not None


def test_write_and_rename_recipe_is_safe_at_every_point() -> None:
    """Write, sync, replace, sync: always the old or the new content."""
    seen = 0
    for rules in RULES:
        start = CrashStorage()
        put(start, "a", b"old", synced=True)
        storage = next(start.disks()).mount()
        put(storage, "a.new", b"new content", synced=True)
        storage.replace("a.new", "a")
        storage.sync_directory()
        for point in range(storage.mutation_count + 1):
            for disk in storage.disks(point, rules=rules):
                seen += 1
                assert disk.files()["a"] in {b"old", b"new content"}, disk
    assert seen > 20


def test_recipe_without_the_file_sync_is_caught() -> None:
    """The simulator finds the classic bug: rename before sync."""
    storage = CrashStorage()
    put(storage, "a", b"old", synced=True)
    storage.open("a.new", create=True).write_at(0, [b"new"])
    storage.replace("a.new", "a")
    storage.sync_directory()
    assert any(files["a"] not in {b"old", b"new"} for files in left(storage))

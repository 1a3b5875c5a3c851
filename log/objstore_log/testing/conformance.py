"""What every storage must do, as checks that run on a fresh, empty one."""

from __future__ import annotations

from collections.abc import Callable

from objstore_log._storage import Buffer, File, Storage

_BLOCK = 4096
_BAD_NAMES = ("", ".", "..", "a/b", "/a", "a\0b")
_BUFFERS_COUNT = 2500


def check_storage(make_storage: Callable[[], Storage]) -> None:
    """Run every check, each on a storage of its own.

    Raises:
        AssertionError: a check failed; the text says which fact does not hold.
    """
    for check in STORAGE_CHECKS:
        check(make_storage())


def _equal(actual: object, expected: object, fact: str) -> None:
    # No assert statement: a suite that `python -O` empties would always pass.
    if actual != expected:
        raise AssertionError(f"{fact}: expected {expected!r:.200}, got {actual!r:.200}")


def _holds(condition: object, fact: str) -> None:
    if not condition:
        raise AssertionError(f"{fact}: does not hold")


def _raises(kind: type[OSError], call: Callable[[], object], fact: str) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{fact}: {kind.__name__} was not raised")


def _file(storage: Storage, name: str, content: bytes = b"") -> File:
    file = storage.open(name, create=True)
    file.write_at(0, [content])
    return file


def check_missing_file_is_not_found(storage: Storage) -> None:
    """Only `create` makes a file."""
    _raises(FileNotFoundError, lambda: storage.open("a"), "open without create")
    _equal(storage.names(), [], "a failed open makes nothing")


def check_created_file_is_empty(storage: Storage) -> None:
    """A new file has no bytes, its name and a place in the list."""
    file = storage.open("a", create=True)
    _equal((file.name, file.size(), file.stored_bytes()), ("a", 0, 0), "new file")
    _equal(file.read_at(0, 10), b"", "reading an empty file")
    _equal(storage.names(), ["a"], "names")


def check_create_keeps_what_exists(storage: Storage) -> None:
    """Opening with `create` truncates nothing."""
    _file(storage, "a", b"old").close()
    _equal(storage.open("a", create=True).read_at(0, 9), b"old", "create again")


def check_written_buffers_follow_each_other(storage: Storage) -> None:
    """Many buffers of any type are one run of bytes."""
    pieces = [bytes([index % 251]) * (index % 7) for index in range(_BUFFERS_COUNT)]
    mixed: list[Buffer] = [bytearray(b"xy"), memoryview(b"z"), b"", *pieces]
    whole = b"".join(mixed)
    file = storage.open("a", create=True)
    _equal(file.write_at(5, mixed), len(whole), "bytes written")
    _equal(file.read_at(0, len(whole) + 99), bytes(5) + whole, "bytes read")
    _equal(file.write_at(5, []), 0, "writing nothing")


def check_reads_end_where_the_file_ends(storage: Storage) -> None:
    """A read is short at the end and empty behind it."""
    file = _file(storage, "a", b"0123456789")
    _equal(file.read_at(8, 5), b"89", "read over the end")
    _equal(file.read_at(50, 5), b"", "read behind the end")
    target = bytearray(b"----")
    _equal(file.read_into(8, memoryview(target)), 2, "count over the end")
    _equal(bytes(target), b"89--", "target over the end")
    _equal(file.read_into(1, memoryview(target)), 4, "count inside")
    _equal(bytes(target), b"1234", "target inside")


def check_try_read_gives_the_same_bytes_or_none(storage: Storage) -> None:
    """Reading without waiting never gives other bytes."""
    file = _file(storage, "a", bytes(range(256)) * 64)
    for position, length in ((0, 1), (100, 9000), (16000, 5000), (99999, 4), (3, 0)):
        given = file.try_read_at(position, length)
        if given is not None:
            _equal(given, file.read_at(position, length), "bytes read at once")
        target = bytearray(length)
        count = file.try_read_into(position, memoryview(target))
        if count is not None:
            read = bytes(target[:count])
            _equal(read, file.read_at(position, length), "bytes filled at once")


def check_gap_reads_as_zeros(storage: Storage) -> None:
    """Writing behind the end leaves zeros between."""
    file = _file(storage, "a", b"ab")
    file.write_at(6, [b"c"])
    _equal(file.read_at(0, 9), b"ab\0\0\0\0c", "gap")


def check_handles_share_the_bytes(storage: Storage) -> None:
    """Two handles of one file see each other's writes."""
    first, second = _file(storage, "a", b"one"), storage.open("a")
    second.write_at(3, [b"two"])
    _equal((first.read_at(0, 9), first.size()), (b"onetwo", 6), "other handle")


def check_syncs_and_hints_change_nothing(storage: Storage) -> None:
    """Syncing and writing back early leave bytes and names as they are."""
    file = _file(storage, "a", b"x" * 9000)
    file.write_back(0, 4096)
    file.sync()
    storage.sync_directory()
    _equal((file.size(), storage.names()), (9000, ["a"]), "after syncing")


def check_punched_range_reads_as_zeros(storage: Storage) -> None:
    """A punch keeps the length and frees space, or says it cannot."""
    file = _file(storage, "a", b"x" * (8 * _BLOCK))
    file.sync()
    before = file.stored_bytes()
    hole = file.punch(_BLOCK, 4 * _BLOCK)
    _equal(file.size(), 8 * _BLOCK, "length after a punch")
    content = file.read_at(0, 8 * _BLOCK)
    expected = b"x" * _BLOCK + bytes(4 * _BLOCK) + b"x" * (3 * _BLOCK)
    _equal(content, expected if hole else b"x" * (8 * _BLOCK), "bytes after a punch")
    if hole:
        _holds(file.stored_bytes() < before, "a punch frees space")
    held = [file.data_bytes(_BLOCK, 4 * _BLOCK), file.data_bytes(10, 9 * _BLOCK)]
    whole = 8 * _BLOCK - 10
    expected_held = [0, whole - 4 * _BLOCK] if hole else [4 * _BLOCK, whole]
    _equal(held, expected_held, "bytes outside holes")


def check_replace_takes_the_place_of_the_target(storage: Storage) -> None:
    """The target is the source, the source's name is gone, old handles stay."""
    _file(storage, "a", b"new").close()
    old = _file(storage, "b", b"old")
    storage.replace("a", "b")
    _equal(storage.names(), ["b"], "names after a replacement")
    _equal(storage.open("b").read_at(0, 9), b"new", "target's bytes")
    _equal(old.read_at(0, 9), b"old", "an open handle of the old target")
    storage.replace("b", "b")
    _equal(storage.names(), ["b"], "names after replacing a file by itself")
    _raises(FileNotFoundError, lambda: storage.replace("a", "b"), "missing source")


def check_name_means_the_file_that_has_it_now(storage: Storage) -> None:
    """An open file is named until another takes its name, or nothing has it."""
    old, new = _file(storage, "a", b"same"), _file(storage, "b", b"same")
    _equal((storage.is_named(old), storage.is_named(new)), (True, True), "named")
    storage.replace("b", "a")
    _holds(not storage.is_named(old), "a replaced file is not named")
    _holds(storage.is_named(storage.open("a")), "its replacement is named")
    storage.remove("a")
    _holds(not storage.is_named(old), "a removed file is not named")


def check_removed_file_stays_readable(storage: Storage) -> None:
    """A removed name is gone, its open handles read on."""
    file = _file(storage, "a", b"kept")
    storage.remove("a")
    _equal(storage.names(), [], "names after removing")
    _equal(file.read_at(0, 9), b"kept", "an open handle of the removed file")
    _raises(FileNotFoundError, lambda: storage.remove("a"), "removing twice")


def check_directories_nest(storage: Storage) -> None:
    """A directory is a storage of its own and goes only when empty."""
    _raises(FileNotFoundError, lambda: storage.directory("d"), "missing directory")
    inner = storage.directory("d", create=True)
    _file(inner, "a", b"in").close()
    again = storage.directory("d", create=True)
    _equal(again.open("a").read_at(0, 9), b"in", "the same directory again")
    _equal((storage.names(), inner.names()), (["d"], ["a"]), "names")
    _raises(OSError, lambda: storage.remove_directory("d"), "removing a full one")
    inner.remove("a")
    storage.remove_directory("d")
    _equal(storage.names(), [], "names after removing it")


def check_files_and_directories_differ(storage: Storage) -> None:
    """Neither is taken for the other."""
    _file(storage, "a").close()
    storage.directory("d", create=True)
    _raises(IsADirectoryError, lambda: storage.open("d"), "opening a directory")
    _raises(NotADirectoryError, lambda: storage.directory("a"), "entering a file")
    _raises(OSError, lambda: storage.remove("d"), "removing a directory as a file")
    _raises(OSError, lambda: storage.remove_directory("a"), "the other way round")


def check_names_are_plain(storage: Storage) -> None:
    """No name leads out of the directory."""
    _file(storage, "ok").close()
    for name in _BAD_NAMES:
        calls: tuple[Callable[[str], object], ...] = (
            lambda bad: storage.open(bad, create=True),
            lambda bad: storage.directory(bad, create=True),
            lambda bad: storage.replace("ok", bad),
            lambda bad: storage.replace(bad, "ok"),
            storage.remove,
            storage.remove_directory,
            storage.try_lock,
            storage.lock_holder,
            storage.database_path,
        )
        for call in calls:
            _raises(OSError, lambda: call(name), f"name {name!r}")  # noqa: B023
    _equal(storage.names(), ["ok"], "names after bad ones")


def check_closed_file_refuses(storage: Storage) -> None:
    """Closing twice is fine, using a closed file is an `OSError`."""
    file = _file(storage, "a", b"x")
    file.close()
    file.close()
    _raises(OSError, lambda: file.read_at(0, 1), "reading")
    _raises(OSError, lambda: file.write_at(0, [b"x"]), "writing")
    _raises(OSError, file.sync, "syncing")
    _raises(OSError, lambda: file.try_lock(shared=True), "locking")


def check_exclusive_lock_excludes(storage: Storage) -> None:
    """Two locks of one process exclude each other until the release."""
    held = storage.try_lock("lock")
    _holds(held is not None, "first lock")
    _equal(storage.try_lock("lock"), None, "second exclusive lock")
    _equal(storage.try_lock("lock", shared=True), None, "shared beside exclusive")
    if held is not None:
        held.release()
        held.release()
    again = storage.try_lock("lock")
    _holds(again is not None, "lock after the release")
    _holds("lock" in storage.names(), "the lock file stays")


def check_shared_locks_share(storage: Storage) -> None:
    """Shared locks stand beside each other and keep an exclusive one out."""
    locks = [storage.try_lock("lock", shared=True) for _ in range(2)]
    _holds(None not in locks, "two shared locks")
    for lock in locks:
        _equal(storage.try_lock("lock"), None, "exclusive beside shared")
        if lock is not None:
            lock.release()
    _holds(storage.try_lock("lock") is not None, "exclusive after all releases")


def check_kept_lock_excludes(storage: Storage) -> None:
    """A lock that is kept excludes every other one, and only while it is held."""
    for _ in range(2):
        held = storage.try_lock("lock", is_kept=True)
        _holds(held is not None, "kept lock")
        _equal(storage.try_lock("lock", is_kept=True), None, "second kept lock")
        _equal(storage.try_lock("lock"), None, "lock beside a kept one")
        _holds(storage.lock_holder("lock") is not None, "its holder is named")
        if held is not None:
            held.release()
            held.release()
        _equal(storage.lock_holder("lock"), None, "holder after the release")
        other = storage.try_lock("lock")
        _holds(other is not None, "lock after the release of a kept one")
        _equal(storage.try_lock("lock", is_kept=True), None, "kept lock beside one")
        if other is not None:
            other.release()
        storage.close()


def check_lock_holder_is_named(storage: Storage) -> None:
    """The holder of an exclusive lock is known while it holds it."""
    _equal(storage.lock_holder("lock"), None, "no lock file")
    lock = storage.try_lock("lock")
    holder = storage.lock_holder("lock")
    _holds(isinstance(holder, int) and holder > 0, "process id of the holder")
    if lock is not None:
        lock.release()
    _equal(storage.lock_holder("lock"), None, "holder after the release")


def check_open_files_lock_their_inode(storage: Storage) -> None:
    """Handles of one file exclude each other, whatever its name is now."""
    first, second = _file(storage, "a"), storage.open("a")
    _holds(first.try_lock(shared=True), "first shared")
    _holds(second.try_lock(shared=True), "second shared")
    first.unlock()
    first.unlock()
    storage.replace("a", "b")
    _holds(not first.try_lock(shared=False), "exclusive beside shared")
    second.close()
    _holds(first.try_lock(shared=False), "exclusive after closing the other")
    _holds(not storage.open("b").try_lock(shared=True), "by the new name")


STORAGE_CHECKS: tuple[Callable[[Storage], None], ...] = (
    check_missing_file_is_not_found,
    check_created_file_is_empty,
    check_create_keeps_what_exists,
    check_written_buffers_follow_each_other,
    check_reads_end_where_the_file_ends,
    check_try_read_gives_the_same_bytes_or_none,
    check_gap_reads_as_zeros,
    check_handles_share_the_bytes,
    check_syncs_and_hints_change_nothing,
    check_punched_range_reads_as_zeros,
    check_replace_takes_the_place_of_the_target,
    check_name_means_the_file_that_has_it_now,
    check_removed_file_stays_readable,
    check_directories_nest,
    check_files_and_directories_differ,
    check_names_are_plain,
    check_closed_file_refuses,
    check_exclusive_lock_excludes,
    check_shared_locks_share,
    check_kept_lock_excludes,
    check_lock_holder_is_named,
    check_open_files_lock_their_inode,
)
"""Every check by itself, for a test runner that shows them one by one."""

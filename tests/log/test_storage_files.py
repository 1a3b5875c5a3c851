"""What only files can show: system calls, processes and forks."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from objstore_log import _file_storage, _posix
from objstore_log._file_storage import FileStorage


class Start(Protocol):
    """Starts a program with arguments."""

    def __call__(self, program: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Run it with its input and output in pipes."""
        ...


HOLDER = """
import sys
from objstore_log._file_storage import FileStorage
lock = FileStorage(sys.argv[1]).try_lock("lock", shared=sys.argv[2:] == ["shared"])
print("held" if lock else "refused", flush=True)
sys.stdin.read()
"""
FORK = """
import os, sys
from objstore_log._file_storage import FileStorage
storage = FileStorage(sys.argv[1])
lock = storage.try_lock("lock")
file = storage.open("data", create=True)
file.try_lock(shared=False)
child = os.fork()
if child == 0:
    if sys.argv[2] == "parent waits":
        lock.release()
        file.unlock()
        file.close()
    print("forked", flush=True)
    sys.stdin.read()
    os._exit(0)
sys.stdout.flush()
if sys.argv[2] == "parent dies":
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.fixture
def storage(tmp_path: Path) -> FileStorage:
    """Give a fresh directory."""
    return FileStorage(tmp_path)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program that says its first line and waits for its input to end."""
    processes: list[subprocess.Popen[bytes]] = []

    def run(program: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe)
        processes.append(process)
        return process

    yield run
    for process in processes:
        with process:
            process.kill()


def first_line(process: subprocess.Popen[bytes]) -> bytes:
    """Wait for the program to say something."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_lock_excludes_another_process(
    storage: FileStorage, start: Start, tmp_path: Path
) -> None:
    """While one process holds it another one is refused."""
    assert storage.try_lock("lock") is not None
    assert first_line(start(HOLDER, tmp_path)) == b"refused"


def test_lock_holder_is_the_other_process(
    storage: FileStorage, start: Start, tmp_path: Path
) -> None:
    """The waiting side reads the process id of the holding side."""
    other = start(HOLDER, tmp_path)
    assert first_line(other) == b"held"
    assert storage.try_lock("lock") is None
    assert storage.lock_holder("lock") == other.pid


def test_killed_holder_frees_its_lock(
    storage: FileStorage, start: Start, tmp_path: Path
) -> None:
    """SIGKILL frees the lock at once, and the dead holder is named no more."""
    other = start(HOLDER, tmp_path)
    assert first_line(other) == b"held"
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert storage.lock_holder("lock") is None
    assert storage.try_lock("lock") is not None


def test_forked_child_does_not_keep_the_parents_locks(
    storage: FileStorage, start: Start, tmp_path: Path
) -> None:
    """With the parent dead and the child alive, both locks are free."""
    parent = start(FORK, tmp_path, "parent dies")
    assert first_line(parent) == b"forked"
    parent.wait()
    assert storage.try_lock("lock") is not None
    assert storage.open("data").try_lock(shared=False)


def test_forked_child_does_not_free_the_parents_locks(
    storage: FileStorage, start: Start, tmp_path: Path
) -> None:
    """Releasing and closing in the child leaves the parent's locks alone."""
    parent = start(FORK, tmp_path, "parent waits")
    assert first_line(parent) == b"forked"
    assert storage.try_lock("lock") is None
    assert not storage.open("data").try_lock(shared=False)
    assert storage.lock_holder("lock") == parent.pid


@pytest.mark.parametrize("text", [b"", b"no number", b"9" * 19])
def test_nonsense_in_a_lock_file_names_nobody(
    storage: FileStorage, text: bytes
) -> None:
    """Only a number that can be a process id is a holder."""
    storage.open("lock", create=True).write_at(0, [text])
    assert storage.lock_holder("lock") is None


def test_holder_of_another_user_is_named(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not being allowed to signal a process shows that it lives."""

    def forbid(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbid)
    assert storage.try_lock("lock") is not None
    assert storage.lock_holder("lock") == os.getpid()


def test_lock_survives_an_unrelated_close(
    storage: FileStorage, start: Start, tmp_path: Path
) -> None:
    """Opening and closing the lock file does not lose the lock."""
    assert storage.try_lock("lock") is not None
    storage.open("lock").close()
    assert first_line(start(HOLDER, tmp_path, "shared")) == b"refused"


def test_kept_lock_of_a_removed_file_is_the_new_files(storage: FileStorage) -> None:
    """Whoever makes the file anew excludes the one that kept the old one open."""
    kept = storage.try_lock("lock", is_kept=True)
    assert kept is not None
    kept.release()
    storage.remove("lock")
    assert storage.try_lock("lock") is not None
    assert storage.try_lock("lock", is_kept=True) is None


def test_kept_lock_names_its_holder_behind_another_process(
    storage: FileStorage, start: Start, tmp_path: Path
) -> None:
    """What the other process wrote is replaced at the next taking."""
    kept = storage.try_lock("lock", is_kept=True)
    assert kept is not None
    kept.release()
    other = start(HOLDER, tmp_path)
    assert first_line(other) == b"held"
    other.kill()
    other.wait()
    assert storage.try_lock("lock", is_kept=True) is not None
    assert storage.lock_holder("lock") == os.getpid()


def test_kept_lock_is_open_until_the_storage_closes_it(storage: FileStorage) -> None:
    """Its descriptor is there for the next time, and goes with the log."""
    kept = storage.try_lock("lock", is_kept=True)
    assert kept is not None
    kept.release()
    (file,) = storage._kept.values()
    assert file.has_name()
    storage.close()
    assert not file.has_name()


def test_dropped_lock_is_still_held(storage: FileStorage) -> None:
    """Only a release frees a lock, not the loss of its object."""
    assert storage.try_lock("lock")
    assert storage.try_lock("lock") is None


def test_descriptors_are_not_inherited(storage: FileStorage) -> None:
    """Every descriptor is close-on-exec."""
    assert not os.get_inheritable(storage.open("a", create=True)._descriptor)


def test_dropped_file_gives_its_descriptor_back(storage: FileStorage) -> None:
    """A file that nobody can reach is closed."""
    file = storage.open("a", create=True)
    descriptor = file._descriptor
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_full_disk_does_not_stop_a_lock(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder's number is a courtesy; the lock holds without it."""

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwritev", refuse)
    lock = storage.try_lock("lock")
    assert lock is not None
    assert storage.lock_holder("lock") is None
    lock.release()


def test_failing_lock_call_closes_the_file(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of flock reaches the caller and leaks nothing."""
    before = len(list(Path("/dev/fd").iterdir()))

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OSError, match="no locks"):
        storage.try_lock("lock")
    monkeypatch.undo()
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_short_writes_are_continued(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of a short write follows in its place."""
    real = os.pwritev

    def short(descriptor: int, buffers: Sequence[bytes], position: int) -> int:
        return real(descriptor, [b"".join(buffers)[:3]], position)

    monkeypatch.setattr(os, "pwritev", short)
    file = storage.open("a", create=True)
    assert file.write_at(2, [b"0123", b"4567", b"89"]) == 10
    assert file.read_at(0, 99) == b"\0\0" + b"0123456789"


def test_write_that_cannot_go_on_raises(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that takes no bytes and gives no reason is an error, no loop."""
    counts = iter([3, 0])

    def stuck(*_: object) -> int:
        return next(counts)

    monkeypatch.setattr(os, "pwritev", stuck)
    with pytest.raises(OSError, match="wrote nothing"):
        storage.open("a", create=True).write_at(0, [b"0123456789"])


def test_short_reads_are_continued(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read is short only at the end of the file."""
    file = storage.open("a", create=True)
    file.write_at(0, [b"0123456789"])
    pread, preadv = os.pread, os.preadv

    def short(descriptor: int, length: int, position: int) -> bytes:
        return pread(descriptor, min(length, 3), position)

    def short_into(descriptor: int, targets: list[memoryview], position: int) -> int:
        return preadv(descriptor, [targets[0][:3]], position)

    monkeypatch.setattr(os, "pread", short)
    monkeypatch.setattr(os, "preadv", short_into)
    assert file.read_at(1, 99) == b"123456789"
    target = bytearray(12)
    assert file.read_into(1, memoryview(target)) == 9
    assert target == b"123456789\0\0\0"


@pytest.mark.parametrize("length", [1, 5000, 1 << 20])
def test_cached_bytes_are_read_at_once(storage: FileStorage, length: int) -> None:
    """What was just written needs no waiting (where the system can tell)."""
    file = storage.open("a", create=True)
    file.write_at(0, [os.urandom(length + 10)])
    expected = file.read_at(7, length) if hasattr(os, "RWF_NOWAIT") else None
    assert file.try_read_at(7, length) in {expected, None}


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EOPNOTSUPP])
def test_read_that_would_wait_gives_none(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Cold pages and systems without the call both answer `None`."""

    def refuse(*_: object) -> int:
        raise OSError(code, "no")

    monkeypatch.setattr(os, "preadv", refuse)
    file = storage.open("a", create=True)
    file.write_at(0, [b"x"])
    assert file.try_read_at(0, 1) is None
    assert file.try_read_at(0, 1) is None


def test_partly_cached_read_gives_none(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short answer before the end of the file means that the rest is cold."""
    file = storage.open("a", create=True)
    file.write_at(0, [b"0123456789"])

    def four(*_: object) -> int:
        return 4

    monkeypatch.setattr(os, "preadv", four)
    assert file.try_read_at(0, 10) is None
    assert len(file.try_read_at(6, 10) or b"") == 4 or not hasattr(os, "RWF_NOWAIT")


def test_very_long_read_is_left_to_a_thread(storage: FileStorage) -> None:
    """Copying many megabytes takes a while even when they are cached."""
    file = storage.open("a", create=True)
    assert file.try_read_at(0, _file_storage._NOWAIT_BYTES_MAX + 1) is None


def test_damaged_disk_error_passes_the_nowait_read(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the disk is not taken for a missing feature."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, "disk error")

    file = storage.open("a", create=True)
    file._can_read_nowait = True
    monkeypatch.setattr(_file_storage, "_RWF_NOWAIT", 8)
    monkeypatch.setattr(os, "preadv", refuse)
    with pytest.raises(OSError, match="disk error"):
        file.try_read_at(0, 1)


def test_punch_without_the_call_is_false(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system without fallocate keeps the bytes."""
    monkeypatch.setattr(_posix, "_fallocate", None)
    monkeypatch.setattr(_posix, "_sync_file_range", None)
    file = storage.open("a", create=True)
    file.write_at(0, [b"x" * 9000])
    file.write_back(0, 9000)
    assert not file.punch(0, 4096)
    assert file.read_at(0, 9000) == b"x" * 9000


def test_failing_punch_raises(storage: FileStorage) -> None:
    """A wrong range is an error of the system, not a missing feature."""
    with pytest.raises(OSError, match="Invalid argument"):
        storage.open("a", create=True).punch(-1, 10)


def test_missing_directory_is_made_only_on_request(tmp_path: Path) -> None:
    """`create` makes the directory and its parents."""
    with pytest.raises(FileNotFoundError):
        FileStorage(tmp_path / "x" / "y")
    FileStorage(tmp_path / "x" / "y", create=True).open("a", create=True)
    assert (tmp_path / "x" / "y" / "a").is_file()


def test_file_is_not_a_directory(tmp_path: Path) -> None:
    """A path to a file is refused, with and without `create`."""
    (tmp_path / "f").write_bytes(b"")
    for path in (tmp_path / "f", tmp_path / "f" / "below"):
        with pytest.raises(NotADirectoryError):
            FileStorage(path, create=True)


def test_relative_path_outlives_a_chdir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory is the one that the path meant when it was opened."""
    monkeypatch.chdir(tmp_path)
    storage = FileStorage("sub", create=True)
    monkeypatch.chdir("/")
    storage.open("a", create=True)
    assert (tmp_path / "sub" / "a").exists()

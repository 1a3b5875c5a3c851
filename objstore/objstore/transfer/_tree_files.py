"""A directory tree that objects are exported to, or imported from.

Every step into it is taken from an open directory and follows no symbolic link, so that
nothing outside is read or written, whatever is in the tree.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from objstore._digest import digest_text
from objstore.errors import BusyError, ObjStoreError, StorageError
from objstore.transfer._tree_lines import Line, decode_lines, encode_head, encode_line
from objstore.transfer._tree_names import OWN_PREFIX

MANIFEST_NAME: Final = f"{OWN_PREFIX}export.jsonl"
PART_NAME: Final = f"{OWN_PREFIX}export.part"
SLAB_BYTES: Final = 4 * 1024 * 1024
SYNC_LINES: Final = 256
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

Parts = Sequence[str]


class Tree:
    """An open directory tree."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self.bucket: str | None = None
        """Where it came from, as its manifest says."""
        self.prefix = ""
        self.lines: dict[str, Line] = {}
        """What its manifest says, by name."""
        self._root = -1
        self._manifest: BinaryIO | None = None
        self._unsynced = 0

    # --- opening --------------------------------------------------------------

    def open(self, *, create: bool = False, shared: bool = False) -> None:
        """Open it, for one export or any number of imports at a time.

        Raises:
            BusyError: another export is at it.
            OSError: it is no directory, or cannot be made.
        """
        if create:
            self.path.mkdir(parents=True, exist_ok=True)
        # of the place itself a link may be meant
        self._root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(self._root, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(path=str(self.path), holder_pid=None, waited_s=0) from None
        with suppress(FileNotFoundError):
            descriptor = os.open(MANIFEST_NAME, _READING, dir_fd=self._root)
            with os.fdopen(descriptor, "rb") as file:
                self.bucket, self.prefix, self.lines = decode_lines(file)

    def begin(self, bucket: str, prefix: str) -> None:
        """Write the manifest anew, with a line for each known name."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(PART_NAME, flags, 0o666, dir_fd=self._root)
        file = os.fdopen(descriptor, "wb")
        self._manifest = file
        file.write(encode_head(bucket, prefix))
        file.writelines(encode_line(line) for line in self.lines.values())
        self.sync()
        os.replace(
            PART_NAME, MANIFEST_NAME, src_dir_fd=self._root, dst_dir_fd=self._root
        )
        os.fsync(self._root)

    def note(self, line: Line) -> None:
        """Add a line to the manifest; synced now and then."""
        assert self._manifest is not None
        self.lines[line.name] = line
        self._manifest.write(encode_line(line))
        self._manifest.flush()
        self._unsynced += 1
        if self._unsynced >= SYNC_LINES:
            self.sync()

    def sync(self) -> None:
        """Make the manifest durable."""
        if self._manifest is not None:
            self._manifest.flush()
            os.fsync(self._manifest.fileno())
            self._unsynced = 0

    def close(self) -> None:
        """Close it; idempotent."""
        manifest, self._manifest = self._manifest, None
        root, self._root = self._root, -1
        if manifest is not None:
            manifest.close()
        if root >= 0:
            os.close(root)

    # --- files ----------------------------------------------------------------

    @contextmanager
    def _directory(self, parts: Parts, *, create: bool = False) -> Generator[int]:
        """Open a directory in it, step by step."""
        here = os.dup(self._root)
        try:
            for part in parts:
                if create:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=here)
                        os.fsync(here)
                below = os.open(part, _DIRECTORY, dir_fd=here)
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)

    def open_file(self, parts: Parts) -> BinaryIO:
        """Open a file for reading.

        Raises:
            OSError: there is none, or what is there is no plain file.
        """
        with self._directory(parts[:-1]) as folder:
            descriptor = os.open(parts[-1], _READING, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is no file", "/".join(parts))
        return os.fdopen(descriptor, "rb", buffering=0)

    def opened_as(self, parts: Parts, size: int) -> BinaryIO | None:
        """Open a file that has a size; `None` when there is no such one."""
        try:
            file = self.open_file(parts)
        except OSError:
            return None
        if os.fstat(file.fileno()).st_size == size:
            return file
        file.close()
        return None

    def is_directory(self, parts: Parts) -> bool:
        """Say whether a path is that of a directory."""
        try:
            with self._directory(parts):
                return True
        except OSError:
            return False

    def create(self) -> BinaryIO:
        """Open the file that is being written, which has no name of its own yet."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(PART_NAME, flags, 0o666, dir_fd=self._root), "wb")

    def finish(self, file: BinaryIO, parts: Parts, time_ns: int) -> None:
        """Give the file that was written its time and its name.

        Guarantee: it appears whole and synced.
        """
        file.flush()
        os.utime(file.fileno(), ns=(time_ns, time_ns))
        os.fsync(file.fileno())
        file.close()
        with self._directory(parts[:-1], create=True) as folder:
            os.replace(PART_NAME, parts[-1], src_dir_fd=self._root, dst_dir_fd=folder)
            os.fsync(folder)

    def drop_unfinished(self) -> None:
        """Remove what was being written."""
        with suppress(FileNotFoundError):
            os.unlink(PART_NAME, dir_fd=self._root)

    def rename(self, parts: Parts, last: str) -> None:
        """Give a file another name in its directory."""
        with self._directory(parts[:-1]) as folder:
            os.rename(parts[-1], last, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def set_time(self, parts: Parts, time_ns: int) -> None:
        """Give a file its time."""
        with self._directory(parts[:-1]) as folder:
            times = (time_ns, time_ns)
            os.utime(parts[-1], ns=times, dir_fd=folder, follow_symlinks=False)

    # --- walking --------------------------------------------------------------

    def walk(self) -> Iterator[tuple[tuple[str, ...], os.stat_result | None]]:
        """Give all that is in it but directories, in order, without our own files.

        What is no plain file comes without its status.
        """
        yield from self._walk(())

    def _walk(
        self, parts: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str, ...], os.stat_result | None]]:
        with self._directory(parts) as folder:
            entries = sorted(os.listdir(folder))  # noqa: PTH208 - of a descriptor
        for entry in entries:
            place = (*parts, entry)
            if entry.startswith(OWN_PREFIX):
                continue
            try:
                with self._directory(parts) as folder:
                    status = os.stat(entry, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(status.st_mode):
                yield from self._walk(place)
            else:
                yield place, status if stat.S_ISREG(status.st_mode) else None


class Hashing:
    """SHA-256 of a file, slab by slab."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def step(self) -> bool:
        """Read a slab; false at the end."""
        slab = self._file.read(SLAB_BYTES)
        self._digest.update(slab)
        return bool(slab)

    def digest(self) -> str:
        """Give it as users see it."""
        return digest_text(self._digest.digest())


@contextmanager
def refusals(path: Path, operation: str) -> Generator[None]:
    """Have what the system refuses leave the block as a `StorageError`."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ObjStoreError):
            raise
        raise StorageError(
            path=str(path),
            operation=operation,
            reason=error.strerror or str(error),
            errno=error.errno,
        ) from error

"""System calls that the standard library lacks or that differ between systems.

Linux has all of them; macOS syncs by `F_FULLFSYNC` and goes without the hints.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from objstore_log.errors import NotSupportedError

_SYNC_FILE_RANGE_WRITE = 2
_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2
_FICLONE = 0x40049409
_UNSUPPORTED_CODES = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})

_NETWORK_TYPES = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "smbfuse", "ncpfs"),
        *("9p", "afs", "afpfs", "coda", "davfs", "ftp", "webdav", "vboxsf", "prl_fs"),
        *(
            "ceph",
            "beegfs",
            "glusterfs",
            "gpfs",
            "lustre",
            "orangefs",
            "panfs",
            "pvfs2",
        ),
        *("gfs", "gfs2", "ocfs2"),
        *("curlftpfs", "davfs2", "gcsfuse", "goofys", "juicefs", "mount-s3", "moosefs"),
        *("mfs", "rclone", "s3fs", "seaweedfs", "sshfs"),
    }
)

_MOUNT_FLAGS_POSITION = 64
_MOUNT_TYPE_POSITION = 72
_MOUNT_TYPE_BYTES = 16
_MOUNT_BYTES = 4096
_MNT_LOCAL = 0x1000

_libc = ctypes.CDLL(None, use_errno=True)


def _function(
    names: tuple[str, ...], *arguments: type[object]
) -> Callable[..., int] | None:
    for name in names:
        if hasattr(_libc, name):
            function = getattr(_libc, name)
            function.argtypes = arguments
            function.restype = ctypes.c_int
            return function  # type: ignore[no-any-return]
    return None


_sync_file_range = _function(
    ("sync_file_range",),
    *(ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint),
)
# The 64-bit name first: a 32-bit glibc has a 32-bit `fallocate`.
_fallocate = _function(
    ("fallocate64", "fallocate"),
    *(ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64),
)


def sync_data(descriptor: int) -> None:
    """Make a file's bytes and length survive a power cut."""
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


def sync_names(descriptor: int) -> None:
    """Make a directory's names survive a power cut."""
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def start_write_back(descriptor: int, position: int, length: int) -> None:
    """Ask for early writing; a failure shows up again in the sync that counts."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, position, length, _SYNC_FILE_RANGE_WRITE)


def punch_hole(descriptor: int, position: int, length: int) -> bool:
    """Free a range and let it read as zeros; `False` where that is unsupported."""
    if _fallocate is None:
        return False
    mode = _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE
    while _fallocate(descriptor, mode, position, length) != 0:
        code = ctypes.get_errno()
        if code in _UNSUPPORTED_CODES:
            return False
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return True


def clone_blocks(source: int, target: int) -> bool:
    """Let a file share all blocks of another one; `False` where that cannot be."""
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        # each file system has its own way to say that it cannot
        cannot = {errno.EINVAL, errno.ENOTTY, errno.EXDEV, errno.EPERM, errno.EBADF}
        if error.errno in cannot or is_unsupported(error):
            return False
        raise
    return True


def data_bytes(descriptor: int, position: int, length: int) -> int:
    """Count the bytes of a range outside holes; all where holes cannot be found."""
    count, end = 0, min(position + length, os.fstat(descriptor).st_size)
    while position < end:
        try:
            start = min(os.lseek(descriptor, position, os.SEEK_DATA), end)
            position = min(os.lseek(descriptor, start, os.SEEK_HOLE), end)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            if is_unsupported(error):
                return count + end - position
            raise
        count += position - start
    return count


def is_out_of_files(path: str) -> bool:
    """Say whether the file system of a file has no room for another file.

    SQLite says of such a disk only that it cannot open a file.
    """
    try:
        room = os.statvfs(Path(path).parent)
    except OSError:
        return False
    # some file systems count no files
    return room.f_files > 0 and room.f_favail == 0


def is_unsupported(error: OSError) -> bool:
    """Tell whether the system lacks the call, as against it having failed."""
    return error.errno in _UNSUPPORTED_CODES


def mounted_type(mounts: str, path: str) -> str | None:
    """Find the file system type of an absolute path in a `mountinfo` text."""
    best, found = -1, None
    for line in mounts.splitlines():
        before, _, source = line.partition(" - ")
        if not source:
            continue
        _, _, _, _, place, *_ = before.split(" ")
        mount = re.sub(
            r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), place
        ).rstrip("/")
        # Not less: of two mounts on one place the later one is seen.
        if len(mount) >= best and (path == mount or path.startswith(mount + "/")):
            best, found = len(mount), source.split(" ", 1)[0]
    return found


def is_network_type(name: str) -> bool:
    """Tell whether a file system of that type is shared over a network."""
    return name.removeprefix("fuse.") in _NETWORK_TYPES


def refuse_network_filesystem(path: str) -> None:
    """Refuse a place whose locks, renames and syncs promise less than POSIX.

    A type that cannot be found out is let through.

    Raises:
        NotSupportedError: the path is on a network file system.
    """
    found = _network_type(os.path.realpath(path))
    if found is not None:
        raise NotSupportedError(
            what=f"{path}: a store on a network file system ({found})",
            hint="use a local disk, or pass force_network=True if one machine alone "
            "uses it and its locks and syncs hold",
        )


def _network_type(path: str) -> str | None:
    if sys.platform == "darwin":
        return _darwin_network_type(path)
    try:
        text = Path("/proc/self/mountinfo").read_text("latin-1")
    except OSError:
        return None
    # Latin-1 on both sides keeps bytes that are no UTF-8 and the octal escapes.
    found = mounted_type(text, os.fsencode(path).decode("latin-1"))
    return found if found is not None and is_network_type(found) else None


def _darwin_network_type(path: str) -> str | None:
    name = "statfs$INODE64" if hasattr(_libc, "statfs$INODE64") else "statfs"
    facts = ctypes.create_string_buffer(_MOUNT_BYTES)
    if getattr(_libc, name)(os.fsencode(path), facts) != 0:
        return None
    flags = int.from_bytes(facts.raw[_MOUNT_FLAGS_POSITION:][:4], sys.byteorder)
    if flags & _MNT_LOCAL:
        return None
    kind = facts.raw[_MOUNT_TYPE_POSITION:][:_MOUNT_TYPE_BYTES]
    return kind.split(b"\0", 1)[0].decode("latin-1")

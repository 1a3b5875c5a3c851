"""Real file systems that a test may break: small, in memory, behind loop devices.

Needs root and loop devices. Only what was made here is ever unmounted or detached, and
always, also when the test is interrupted.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from objstore_log._posix import start_write_back

SHUT_DOWN = 0x8004587D
"""`FS_IOC_SHUTDOWN`: the file system ends where it stands, as in a power cut."""
FLUSH, LOG_FLUSH, NO_FLUSH = 0, 1, 2
"""What is still written: everything, the journal alone, nothing."""
MIB = 1024 * 1024
IMAGE_BYTES = 384 * MIB
"""With holes; xfs refuses less than 300 MiB."""
SHELF_BYTES = 768 * MIB
BUSY_S = 10.0
PAGE_BYTES = 4_096

MAKE = {"ext4": ("mkfs.ext4", "-q", "-F", "-m", "0"), "xfs": ("mkfs.xfs", "-q", "-f")}
MOUNT_OPTIONS = {
    "ext4": ("", "", "data=writeback", "noauto_da_alloc", "nodelalloc"),
    "xfs": ("",),
}
"""Ways to mount; the odd ones promise programs less."""
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
_ADMINISTER = 1 << 21
"""The capability that mounting needs."""


def why_not(*file_systems: str) -> str | None:
    """Say why this machine has no such disks for us; `None` when it has."""
    tools = [MAKE[name][0] for name in file_systems if name in MAKE]
    if tools:
        tools.append("losetup")
    tools += ["mount", "umount"]
    if not Path("/proc/self/status").exists():
        return "power cuts are made on Linux alone"
    status = dict(
        line.split(":", 1)
        for line in Path("/proc/self/status").read_text().splitlines()
    )
    if os.geteuid() != 0 or not int(status["CapEff"], 16) & _ADMINISTER:
        return "mounting a disk needs root with all its capabilities"
    missing = [tool for tool in tools if shutil.which(tool, path=_PATH) is None]
    if missing:
        return f"{', '.join(missing)} not found; install e2fsprogs, xfsprogs, mount"
    if "losetup" in tools and not Path("/dev/loop-control").exists():
        return "there are no loop devices (/dev/loop-control)"
    return None


def why_not_really(*file_systems: str) -> str | None:
    """Say the same after trying, which takes a moment."""
    reason = why_not(*file_systems)
    try:
        for name in file_systems if reason is None else ():
            with tempfile.TemporaryDirectory() as folder:
                _try_once(name, Path(folder))
    except subprocess.CalledProcessError as error:
        reason = f"{error.cmd[0]} failed: {error.stderr.strip()}"
    return reason


def _try_once(name: str, folder: Path) -> None:
    with shelf(folder) as place, made_disk(name, place) as disk:
        disk.mount()


def call(*command: str | Path) -> str:
    """Run a program of the system; give what it printed."""
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": _PATH, "LC_ALL": "C"},
    )
    return done.stdout.strip()


def unmount(place: Path) -> None:
    """Unmount, waiting a little for the last of the killed processes to be gone."""
    end_s = time.monotonic() + BUSY_S
    while True:
        try:
            call("umount", place)
        except subprocess.CalledProcessError as error:
            if "busy" not in error.stderr or time.monotonic() > end_s:
                # gone from sight at once, and for good with its last user
                call("umount", "--lazy", place)
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def memory_disk(
    place: Path, size_bytes: int, inodes: int | None = None
) -> Generator[Path]:
    """Mount a file system in memory on a folder of ours."""
    place.mkdir(exist_ok=True)
    options = f"size={size_bytes}"
    if inodes is not None:
        options += f",nr_inodes={inodes}"
    call("mount", "-t", "tmpfs", "-o", options, "tmpfs", place)
    try:
        yield place
    finally:
        unmount(place)


@contextmanager
def shelf(folder: Path, size_bytes: int = SHELF_BYTES) -> Generator[Path]:
    """Give room in memory for images, so that no real disk is worn or waited for."""
    with memory_disk(folder / "shelf", size_bytes) as place:
        yield place


@dataclass
class Disk:
    """A file system of its own behind a loop device."""

    device: str
    place: Path
    """Where it is mounted, when it is."""
    options: str = ""
    is_mounted: bool = False

    def mount(self) -> None:
        """Mount; after a cut this is where the journal is played back."""
        options = ("-o", self.options) if self.options else ()
        call("mount", *options, self.device, self.place)
        self.is_mounted = True

    def unmount(self) -> None:
        """Unmount, so that nothing of it stays in the page cache."""
        if self.is_mounted:
            self.is_mounted = False
            unmount(self.place)

    def cut(self, flush: int) -> None:
        """Cut the power: from here on nothing reaches the disk."""
        folder = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(folder, SHUT_DOWN, struct.pack("I", flush))
        finally:
            os.close(folder)

    def write_back_some(self, chance: random.Random) -> None:
        """Have a few pages written early, in no order, as a busy kernel does."""
        files: list[Path] = []
        # a directory of a deleted bucket may go while they are looked for
        with suppress(FileNotFoundError):
            files += sorted([*self.place.rglob("*.seg"), *self.place.rglob("head")])
        for path in chance.sample(files, min(3, len(files))):
            with suppress(FileNotFoundError), path.open("rb") as file:
                pages = os.fstat(file.fileno()).st_size // PAGE_BYTES + 1
                start = chance.randrange(pages)
                count = chance.choice([1, 1, 2, pages])
                start_write_back(file.fileno(), start * PAGE_BYTES, count * PAGE_BYTES)


@contextmanager
def made_disk(
    file_system: str,
    folder: Path,
    *,
    image_bytes: int = IMAGE_BYTES,
    make_options: tuple[str, ...] = (),
    is_allocated: bool = False,
) -> Generator[Disk]:
    """Make an image in a folder, a loop device and a file system; not mounted yet."""
    image, place = folder / "image", folder / "disk"
    place.mkdir()
    with image.open("wb") as file:
        if is_allocated:
            os.posix_fallocate(file.fileno(), 0, image_bytes)
        file.truncate(image_bytes)
    with ExitStack() as ends:
        ends.callback(image.unlink)
        device = call("losetup", "--find", "--show", image)
        ends.callback(call, "losetup", "--detach", device)
        call(*MAKE[file_system], *make_options, device)
        disk = Disk(device, place)
        ends.callback(place.rmdir)
        ends.callback(disk.unmount)
        yield disk


def fill(path: Path, spare_bytes: int = 0) -> None:
    """Fill a file system with one file of ballast, up to a spare."""
    with path.open("wb") as file:
        while True:
            free = os.statvfs(path).f_bavail * os.statvfs(path).f_frsize
            size = min(max(free - spare_bytes, 0), MIB)
            if not size:
                return
            try:
                file.write(b"\xff" * size)
                file.flush()
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    return
                raise

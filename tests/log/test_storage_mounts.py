"""Network file systems are recognised and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore_log import _posix
from objstore_log._file_storage import FileStorage
from objstore_log._posix import is_network_type, mounted_type
from objstore_log.errors import NotSupportedError


def test_network_filesystem_is_refused_unless_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the type; nothing is made before it."""

    def network(_: str) -> str:
        return "nfs4"

    monkeypatch.setattr(_posix, "_network_type", network)
    with pytest.raises(NotSupportedError, match=r"nfs4.*force_network=True"):
        FileStorage(tmp_path / "new", create=True)
    assert not (tmp_path / "new").exists()
    assert FileStorage(tmp_path / "new", create=True, force_network=True).names() == []


MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:30 / /mnt rw - tmpfs tmpfs rw
31 22 0:31 / /mnt/far\040away rw shared:5 master:2 - nfs4 host:/x rw
32 22 0:32 / /home rw - ext4 /dev/sdb rw
33 22 0:33 / /home rw - fuse.sshfs me@host: rw
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "ext4"),
        ("/mntx", "ext4"),
        ("/mnt", "tmpfs"),
        ("/mnt/far", "tmpfs"),
        ("/mnt/far away", "nfs4"),
        ("/mnt/far away/deep/er", "nfs4"),
        ("/home/me", "fuse.sshfs"),
    ],
)
def test_longest_latest_mount_is_the_one(path: str, expected: str) -> None:
    """The mount with the longest matching place wins, of equal ones the last."""
    assert mounted_type(MOUNTS, path) == expected


def test_no_mounts_mean_an_unknown_type() -> None:
    """A table without the path gives no answer."""
    assert mounted_type("", "/x") is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[(name, True) for name in ("nfs", "nfs4", "cifs", "9p", "fuse.sshfs")],
        *[(name, True) for name in ("ceph", "fuse.glusterfs", "lustre")],
        *[(name, False) for name in ("ext4", "xfs", "btrfs", "tmpfs", "overlay")],
        *[(name, False) for name in ("fuse", "fuseblk", "zfs", "apfs")],
    ],
)
def test_network_types_are_known(name: str, expected: bool) -> None:
    """Shared file systems are told from local ones."""
    assert is_network_type(name) is expected

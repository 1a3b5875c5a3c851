"""Names whose records are damaged cost a list themselves, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import objstore
from objstore._operations_list import FIRST_ROWS
from objstore.errors import CorruptionError

COUNT = FIRST_ROWS + 30


def name_of(number: int) -> str:
    """Name an object."""
    return f"n{number:05}"


def make_damaged(path: Path, numbers: Sequence[int]) -> None:
    """Make a bucket of empty objects, flip a bit in what is said about some of them."""
    with objstore.open(path, retention_interval=None) as store:
        bucket = store.create_object_store("b", sync="never")
        for number in range(COUNT):
            bucket.put(name_of(number), b"", f"about {number:05}")
    log = path / "logs" / "00000001"
    (segment,) = log.glob("*.seg")
    content = bytearray(segment.read_bytes())
    for number in numbers:
        content[content.index(b"about %05d" % number)] ^= 1
    segment.write_bytes(content)
    # the catalog has copies, which would mend it
    for file in log.glob("catalog*"):
        file.unlink()


def test_damage_beside_a_page_hides_no_sound_name(tmp_path: Path) -> None:
    """A page that damage made shorter is filled up, with one more damaged, too."""
    damaged = {5, FIRST_ROWS}
    make_damaged(tmp_path, sorted(damaged))
    sound = [name_of(number) for number in range(COUNT) if number not in damaged]
    with objstore.open(tmp_path, retention_interval=None) as store:
        bucket = store.object_store("b")
        listed = [info.name for info in bucket.list(limit=FIRST_ROWS)]

        assert sound[:FIRST_ROWS] == listed
        assert sound == [info.name for info in bucket.list()]


def test_lost_end_of_the_log_brings_nothing_old_back(tmp_path: Path) -> None:
    """The catalog knows which names were changed in a stretch that is lost."""
    new: dict[str, bytes] = {}
    with objstore.open(tmp_path, retention_interval=None) as store:
        bucket = store.create_object_store("b")
        for number in range(8):
            bucket.put(name_of(number), b"old")
        for number in range(8):
            new[name_of(number)] = f"new {number}".encode()
            bucket.put(name_of(number), new[name_of(number)])
        bucket.delete(name_of(0))
    (segment,) = (tmp_path / "logs" / "00000001").glob("*.seg")
    content = segment.read_bytes()
    lost = len(content) - content.index(b"new 6")
    segment.write_bytes(content[:-lost] + bytes(lost))
    for is_first in (True, False):
        with objstore.open(tmp_path, retention_interval=None) as store:
            bucket = store.object_store("b")
            assert sorted(new)[1:] == [info.name for info in bucket.list()]
            for number in range(1, 6):
                assert new[name_of(number)] == bucket.get(name_of(number))
            for number in (6, 7):
                with pytest.raises(CorruptionError, match=name_of(number)):
                    bucket.get(name_of(number))
            assert store.damaged or not is_first
            named = {found.name for found in store.verify().damaged}
            assert {name_of(6), name_of(7)} <= named
            bucket.put("fresh", b"put behind the damage")
            assert bucket.get("fresh") == b"put behind the damage"
            bucket.delete("fresh")

"""Names whose records are damaged cost a list themselves, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import objstore
from objstore._operations_list import FIRST_ROWS

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

"""The index of a sealed segment, read block by block from its footer."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore_log import _sealed_index
from objstore_log._footer import (
    Footer,
    SegmentIndex,
    Trailer,
    encode_footer_body,
)
from objstore_log._format import SegmentHeader, checksum
from objstore_log._record import Kind
from objstore_log._sealed_index import FooterChangedError, SealedIndex, read_footer

HEADER = SegmentHeader(b"l" * 16, 3, 7, b"12345678", 1, 2, 3, 6)
START = 1_000
"""Where the body is in the file."""


def index_of(sequences: list[int]) -> SegmentIndex:
    """Make an index with these records."""
    index = SegmentIndex()
    for sequence in sequences:
        index.add_fields(sequence, sequence * 100, 100, Kind.META, 0, b"k")
    return index


class File:
    """A segment file, and what is wrong with it."""

    def __init__(self, index: SegmentIndex) -> None:
        body = encode_footer_body(HEADER, index.last_sequence, index)
        self.trailer = Trailer(900, START, len(body), checksum(body))
        self.data = bytearray(START) + body
        self.error: OSError | None = None
        self.reads: list[int] = []
        self.lost = 0

    def read_at(self, position: int, length: int) -> bytes:
        """Read, or fail as it was told to."""
        self.reads.append(length)
        if self.error is not None:
            raise self.error
        return bytes(self.data[position : position + length])

    def lose(self) -> None:
        """Count how often the index was found to be void."""
        self.lost += 1

    def footer(self) -> Footer | None:
        """Read the footer."""
        return read_footer(self.trailer, self.read_at, self.read_at, self.lose)

    def sealed(self) -> SegmentIndex:
        """Give the index of the footer, which is sound."""
        footer = self.footer()
        assert footer is not None
        assert isinstance(footer.entries, SealedIndex)
        return footer.entries


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    """Have every footer read in blocks of two entries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_sealed_index, "LOADED_BYTES_MAX", 0)
        patch.setattr(_sealed_index, "BLOCK_BYTES", 64)
        patch.setattr(_sealed_index, "_PIECE_BYTES", 128)
        yield


@given(st.lists(st.integers(1, 3), min_size=1, max_size=40))
def test_sealed_index_is_the_one_that_was_written(steps: list[int]) -> None:
    """Whatever is asked, it says what the index in memory says."""
    sequences = [7 + sum(steps[: at + 1]) for at in range(len(steps))]
    index = index_of(sequences)
    sealed = File(index).sealed()

    assert len(sealed) == len(index)
    assert sealed.entry_bytes() == index.entry_bytes()
    assert (sealed.first_sequence, sealed.last_sequence) == (
        sequences[0],
        sequences[-1],
    )
    for sequence in range(sequences[0] - 2, sequences[-1] + 3):
        assert sealed.find(sequence) == index.find(sequence)
        assert sealed.place(sequence) == index.place(sequence)
    entries = range(len(index))
    assert list(map(sealed.entry, entries)) == list(map(index.entry, entries))


def test_look_up_reads_one_block() -> None:
    """Where no sequence is missing, finding one costs one small read."""
    file = File(index_of(list(range(7, 107))))
    sealed = file.sealed()
    file.reads.clear()

    assert sealed.find(60) is not None
    assert file.reads == [64]


def test_damaged_footer_is_none() -> None:
    """A flip anywhere, or a byte that is missing, and it is no footer."""
    index = index_of(list(range(7, 17)))
    body = len(File(index).data) - START
    for place in range(0, body, 7):
        file = File(index)
        file.data[START + place] ^= 1
        assert file.footer() is None
    file = File(index)
    del file.data[-1]
    assert file.footer() is None
    file.data[START:] = b""
    assert file.footer() is None


def flip(file: File) -> None:
    """Damage the fifth block."""
    file.data[START + 152 + 4 * 64] ^= 1


def refuse(file: File) -> None:
    """Have a bad sector where the footer is."""
    file.error = OSError(errno.EIO, "bad sector")


@pytest.mark.parametrize("damage", [flip, refuse])
def test_block_that_is_damaged_later_is_not_believed(
    damage: Callable[[File], None],
) -> None:
    """It is told, so that the records themselves are asked what there is."""
    file = File(index_of(list(range(7, 27))))
    sealed = file.sealed()
    damage(file)

    with pytest.raises(FooterChangedError):
        sealed.find(15)
    assert file.lost == 1


def test_refusal_that_is_no_damage_is_raised() -> None:
    """A file that is gone is told to whoever looks up."""
    file = File(index_of(list(range(7, 27))))
    sealed = file.sealed()
    file.error = FileNotFoundError(errno.ENOENT, "gone")

    with pytest.raises(FileNotFoundError):
        sealed.find(15)


def test_small_footer_is_kept_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs less memory than its checksums are worth."""
    monkeypatch.setattr(_sealed_index, "LOADED_BYTES_MAX", 10_000)
    footer = File(index_of([7, 8])).footer()

    assert footer is not None
    assert type(footer.entries) is SegmentIndex

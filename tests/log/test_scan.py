"""Scanning a segment: damage is found, forgeries are not taken, the rest is read."""

from __future__ import annotations

import random
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore_log import _scan
from objstore_log._batch import Durable, EncodedBatch, encode_batch, number_records
from objstore_log._format import (
    COMMIT_BYTES,
    SEGMENT_HEADER_BYTES,
    RecordHeader,
    SegmentHeader,
    checksum,
    encode_record_header,
    encode_segment_header,
)
from objstore_log._record import Kind, NewRecord
from objstore_log._scan import (
    Batch,
    BatchEnd,
    Damage,
    ReadAt,
    Window,
    greatest_durable_position,
    scan_batches,
    scan_records,
)

MARKER = b"\xf7mark\x00er"
START = SEGMENT_HEADER_BYTES


class File:
    """A segment in memory, batch by batch."""

    def __init__(self) -> None:
        """Begin with a header."""
        header = SegmentHeader(b"l" * 16, 1, 1, MARKER, 0, 0, 0, 0)
        self.data = bytearray(encode_segment_header(header))
        self.batches: list[EncodedBatch] = []
        self.sequence = 0

    def add(self, *records: NewRecord) -> EncodedBatch:
        """Append a batch whose commit states all before it as durable."""
        numbered = number_records([records], self.sequence + 1, 1)
        self.sequence += len(numbered)
        batch = encode_batch(
            numbered,
            marker=MARKER,
            position=len(self.data),
            last_sequence=self.sequence,
            time_ns=1,
            writer_id=1,
            durable=Durable(len(self.data), self.sequence - len(numbered)),
        )
        self.batches.append(batch)
        self.data += b"".join(batch.buffers)
        return batch

    def read_at(self, position: int, length: int) -> bytes:
        """Read as a file does."""
        return bytes(self.data[position : position + length])


def reader(data: bytes) -> ReadAt:
    """Make a file of bytes."""
    return lambda position, length: data[position : position + length]


def records_of(data: bytes, *, verify: bool = True) -> list[RecordHeader | Damage]:
    """Scan records of a whole segment."""
    return list(
        scan_records(reader(data), START, len(data), MARKER, verify_bodies=verify)
    )


def batches_of(data: bytes) -> list[Batch | BatchEnd]:
    """Scan batches of a whole segment."""
    return list(scan_batches(reader(data), START, len(data), MARKER))


def meta(name: str, body: bytes = b"body") -> NewRecord:
    """Make a record with a subject."""
    return NewRecord(Kind.META, body, key=name.encode())


def sample() -> File:
    """Make a segment of three batches."""
    file = File()
    file.add(meta("a"), NewRecord(Kind.CHUNK, b"c" * 50))
    file.add(meta("b", b""))
    file.add()
    return file


def test_whole_segment_has_no_damage() -> None:
    """Every batch is found with its records, and nothing else."""
    file = sample()

    found = batches_of(bytes(file.data))

    assert [type(item) for item in found] == [Batch] * 3
    assert [item.position for item in found] == [
        batch.headers[0][0] if batch.headers else len(file.data) - COMMIT_BYTES
        for batch in file.batches
    ]
    assert [item.last_sequence for item in found if isinstance(item, Batch)] == [
        2,
        3,
        3,
    ]
    assert not [
        item for item in records_of(bytes(file.data)) if isinstance(item, Damage)
    ]


def test_every_flipped_byte_ends_the_batches_before_it() -> None:
    """A scan of batches stops at the batch that was hit, wherever it was hit."""
    file = sample()
    whole = batches_of(bytes(file.data))
    for place in range(START, len(file.data)):
        data = bytearray(file.data)
        data[place] ^= 1 << (place % 8)
        before = [
            item for item in whole if isinstance(item, Batch) and item.end <= place
        ]

        found = batches_of(bytes(data))

        assert found[:-1] == before
        assert isinstance(found[-1], BatchEnd)
        assert found[-1].position == (before[-1].end if before else START)


def test_every_flipped_byte_costs_one_record() -> None:
    """A scan of records names the record that was hit and finds all others."""
    file = sample()
    whole = records_of(bytes(file.data))
    for place in range(START, len(file.data)):
        data = bytearray(file.data)
        data[place] ^= 1 << (place % 8)
        victims = [
            item
            for item in whole
            if isinstance(item, RecordHeader) and item.position <= place < item.end
        ]

        found = records_of(bytes(data))

        damages = [item for item in found if isinstance(item, Damage)]
        assert len(damages) == 1
        assert (damages[0].position, damages[0].end) == (
            victims[0].position,
            victims[0].end,
        )
        assert [item for item in found if not isinstance(item, Damage)] == [
            item for item in whole if item not in victims
        ]


def test_damaged_body_names_its_record() -> None:
    """With a whole header the victim of a damaged body is known."""
    file = sample()
    position, length, _ = file.batches[0].headers[1]
    data = bytearray(file.data)
    data[position + length - 1] ^= 1

    damages = [item for item in records_of(bytes(data)) if isinstance(item, Damage)]

    assert [damage.header and damage.header.sequence for damage in damages] == [2]
    assert not [
        item
        for item in records_of(bytes(data), verify=False)
        if isinstance(item, Damage)
    ]


def test_every_cut_keeps_the_whole_batches() -> None:
    """A file that ends anywhere has the batches that end before."""
    file = sample()
    whole = [item for item in batches_of(bytes(file.data)) if isinstance(item, Batch)]
    for size in range(START, len(file.data)):
        found = batches_of(bytes(file.data[:size]))

        batches = [item for item in found if isinstance(item, Batch)]
        assert batches == [item for item in whole if item.end <= size]
        assert (found == batches) == (size in {START, *(item.end for item in whole)})


def forged_record(marker: bytes, position: int) -> bytes:
    """Make what an uploader can make who knows all but the marker."""
    body = b"forged"
    header, _ = encode_record_header(
        marker,
        position,
        Kind.META,
        b"victim",
        len(body),
        checksum(body),
        sequence=999,
        time_ns=1,
        batch_index=0,
    )
    return header + body


@pytest.mark.parametrize("marker", [bytes(8), b"OBJSEG\r\n", b"\xff" * 8])
def test_forged_records_in_content_are_never_found(marker: bytes) -> None:
    """Records in content, valid but for the marker, stay content behind damage."""
    for offset in range(3):
        file = File()
        file.add(meta("a"))
        position = len(file.data) + 88 + offset
        body = b"." * offset + forged_record(marker, position) * 3
        batch = file.add(NewRecord(Kind.CHUNK, body))
        file.add(meta("z"))
        data = bytearray(file.data)
        data[batch.headers[0][0] + 20] ^= 1

        found = records_of(bytes(data))

        names = [item.key for item in found if isinstance(item, RecordHeader)]
        assert b"victim" not in names
        assert names == [b"a", b"", b"", b"z", b""]


def test_copied_records_in_content_are_never_found() -> None:
    """Content that holds this very segment's records, marker and all, stays content."""
    file = File()
    file.add(meta("a"))
    copied = bytes(file.data)
    batch = file.add(NewRecord(Kind.CHUNK, copied))
    file.add(meta("z"))
    data = bytearray(file.data)
    data[batch.headers[0][0] + 20] ^= 1

    found = records_of(bytes(data))

    assert [item.key for item in found if isinstance(item, RecordHeader)] == [
        b"a",
        b"",
        b"",
        b"z",
        b"",
    ]


def test_batch_of_another_place_ends_the_batches() -> None:
    """A batch that was written twice, at its own place and behind, counts once."""
    file = sample()
    again = b"".join(file.batches[0].buffers)

    found = batches_of(bytes(file.data) + again)

    assert isinstance(found[-1], BatchEnd)
    assert found[-1].position == len(file.data)


def test_commit_of_other_records_makes_no_batch_whole() -> None:
    """Records that are valid by themselves need the commit that was made for them."""
    one, other = File(), File()
    one.add(meta("a", b"one"), meta("b"))
    other.add(meta("a", b"two"), meta("b"))
    size = len(one.data)
    assert size == len(other.data)
    data = bytes(one.data[: size - COMMIT_BYTES] + other.data[size - COMMIT_BYTES :])

    assert not any(isinstance(item, Damage) for item in records_of(data))
    assert batches_of(data) == [BatchEnd(START, "commit record does not fit its batch")]


def test_batch_that_lost_its_commit_is_not_completed_by_the_next() -> None:
    """Records without their commit never join the batch behind them."""
    file = File()
    first = file.add(meta("a"))
    file.add(meta("b"))
    data = bytearray(file.data)
    commit = first.headers[0][0] + first.headers[0][1]
    data[commit : commit + COMMIT_BYTES] = bytes(COMMIT_BYTES)

    assert batches_of(bytes(data)) == [BatchEnd(START, "no valid record header")]


def test_durable_position_is_found_behind_damage() -> None:
    """A commit behind damage proves what is before it, whatever was damaged."""
    file = sample()
    last = len(file.data) - COMMIT_BYTES
    for place in range(START, last):
        data = bytearray(file.data)
        data[place] ^= 0x10
        found = greatest_durable_position(reader(bytes(data)), START, len(data), MARKER)
        assert found == last


def test_durable_position_scan_reads_each_byte_about_once() -> None:
    """Looking for commits does not read the file anew for each record."""
    file = File()
    for number in range(2_000):
        file.add(meta(f"n{number}"))
    read = 0

    def read_at(position: int, length: int) -> bytes:
        nonlocal read
        read += length
        return file.read_at(position, length)

    assert greatest_durable_position(read_at, START, len(file.data), MARKER)
    assert read < 2 * len(file.data)


WINDOWS = [1, 7, 8, 87, 88, 89, 200, 1 << 20]


@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=8),
    damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 120)), max_size=3),
    seed=st.integers(0, 1_000),
)
@settings(max_examples=60)
def test_window_size_changes_nothing(
    sizes: list[int], damage: list[tuple[int, int]], seed: int
) -> None:
    """However little is read at a time, the same is found."""
    chance = random.Random(seed)
    file = File()
    for number, size in enumerate(sizes):
        file.add(*[meta(f"n{number}", chance.randbytes(size))] * (1 + number % 3))
    data = bytearray(file.data)
    for place, length in damage:
        start = START + place % (len(data) - START)
        stop = min(start + length, len(data))
        data[start:stop] = chance.randbytes(stop - start)
    results: list[object] = []
    for window_bytes in WINDOWS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_scan, "Window", partial(Window, window_bytes=window_bytes))
            results.append(
                (
                    records_of(bytes(data)),
                    records_of(bytes(data), verify=False),
                    batches_of(bytes(data)),
                    greatest_durable_position(
                        reader(bytes(data)), START, len(data), MARKER
                    ),
                )
            )
    assert all(result == results[0] for result in results)


@given(
    sizes=st.lists(st.integers(0, 200), min_size=3, max_size=8),
    victim=st.integers(0, 7),
    kind=st.sampled_from(["zero", "noise", "marker"]),
    seed=st.integers(0, 1_000),
)
def test_resync_finds_every_undamaged_record(
    sizes: list[int], victim: int, kind: str, seed: int
) -> None:
    """Whatever stands where a batch was, all other batches' records are found."""
    chance = random.Random(seed)
    file = File()
    for number, size in enumerate(sizes):
        file.add(meta(f"n{number}", chance.randbytes(size)))
    position, _, _ = file.batches[victim % len(sizes)].headers[0]
    end = position + file.batches[victim % len(sizes)].length
    filling = {
        "zero": bytes(end - position),
        "noise": chance.randbytes(end - position),
        "marker": (MARKER * (end - position))[: end - position],
    }[kind]
    data = bytearray(file.data)
    data[position:end] = filling

    found = records_of(bytes(data))

    assert [
        item.key for item in found if isinstance(item, RecordHeader) and item.key
    ] == [
        f"n{number}".encode()
        for number in range(len(sizes))
        if number != victim % len(sizes)
    ]
    damages = [item for item in found if isinstance(item, Damage)]
    assert [(item.position, item.end) for item in damages] == [(position, end)]

"""The format's values: what is encoded is decoded, and every flipped bit is noticed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from objstore_log._batch import Durable, EncodedBatch, encode_batch, number_records
from objstore_log._footer import (
    ENTRY_BYTES,
    TRAILER_BYTES,
    SegmentIndex,
    decode_footer,
    decode_trailer,
    encode_footer_body,
    encode_trailer,
)
from objstore_log._format import (
    COMMIT_BYTES,
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Commit,
    SegmentHeader,
    checksum,
    decode_commit,
    decode_record_header,
    decode_segment_header,
    encode_commit,
    encode_record_header,
    encode_segment_header,
)
from objstore_log._head_slot import (
    HEAD_BYTES,
    HEAD_SLOT_BYTES,
    Head,
    StoreHeader,
    decode_head,
    decode_store_header,
    encode_head_slot,
    encode_store_header,
    slot_position,
)
from objstore_log._record import Kind, NewRecord, subject_of

U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
U8 = st.integers(0, 255)
MARKER = b"\x01marker\xff"

segment_headers = st.builds(
    SegmentHeader,
    log_id=st.binary(min_size=16, max_size=16),
    number=U64,
    first_sequence=U64,
    marker=st.binary(min_size=8, max_size=8),
    created_ns=U64,
    previous_number=U64,
    previous_usable=U64,
    previous_last_sequence=U64,
    covers_first=U64,
    covers_final=U64,
    usable=U64,
    flags=U8,
)
commits = st.builds(
    Commit,
    first_sequence=U64,
    record_count=U32,
    byte_length=U64,
    headers_checksum=U64,
    writer_id=U64,
    durable_position=U64,
    durable_sequence=U64,
)


@st.composite
def heads(draw: st.DrawFn) -> Head:
    """Make a head whose durable end does not pass its written end."""
    written, sequence = draw(U64), draw(U64)
    return Head(
        draw(st.binary(min_size=16, max_size=16)),
        draw(U64),
        draw(U64),
        written,
        sequence,
        draw(st.integers(0, written)),
        draw(st.integers(0, sequence)),
        draw(U64),
        draw(st.binary(min_size=8, max_size=8)),
        draw(st.integers(0, 2)),
    )


def flips(data: bytes) -> list[bytes]:
    """Give the data with each single byte flipped in one bit."""
    flipped: list[bytes] = []
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        flipped.append(bytes(changed))
    return flipped


def some_batch(position: int = SEGMENT_HEADER_BYTES) -> EncodedBatch:
    """Make a batch of three records."""
    records = number_records(
        [
            [
                NewRecord(Kind.CHUNK, b"content", nuid=b"N" * 16, plain_length=7),
                NewRecord(Kind.META, b"meta", key="grün".encode()),
            ],
            [NewRecord(Kind.SEAL, b"")],
        ],
        7,
        1_000,
    )
    return encode_batch(
        records,
        marker=MARKER,
        position=position,
        last_sequence=9,
        time_ns=1_000,
        writer_id=5,
        durable=Durable(position, 6),
    )


@given(segment_headers)
def test_segment_header_round_trip(header: SegmentHeader) -> None:
    """A segment header is read as it was written, with no damage."""
    data = encode_segment_header(header)

    decoded = decode_segment_header(data)

    assert len(data) == SEGMENT_HEADER_BYTES
    assert decoded == (header, 1, None)


def test_segment_header_survives_each_flip_and_names_the_damaged_copy() -> None:
    """One copy is enough, and which one is damaged is told."""
    header = SegmentHeader(b"l" * 16, 3, 17, MARKER, 1, 2, 3, 16)
    for place, data in enumerate(flips(encode_segment_header(header))):
        decoded = decode_segment_header(data)

        assert decoded is not None
        assert decoded.header == header
        assert decoded.damaged_copy == (0 if place < 128 else 1)


def test_segment_header_with_both_copies_damaged_is_none() -> None:
    """A header is never guessed."""
    data = bytearray(
        encode_segment_header(SegmentHeader(b"l" * 16, 3, 17, MARKER, 1, 2, 3, 16))
    )
    data[20] ^= 1
    data[128 + 90] ^= 1

    assert decode_segment_header(bytes(data)) is None


@given(st.binary(max_size=600))
def test_decoders_give_none_for_noise(data: bytes) -> None:
    """No decoder raises for what a disk may hold, and none takes noise for a value."""
    assert decode_segment_header(data) is None
    assert decode_head(data) is None
    assert decode_store_header(data) is None
    assert decode_trailer(data[:TRAILER_BYTES]) is None
    assert decode_record_header(data, 0, data[:8], 0) is None
    assert decode_commit(data) is None or len(data) == 56


@given(
    kind=st.sampled_from(Kind),
    key=st.binary(max_size=1024),
    position=U64,
    body_length=st.integers(0, 16 << 20),
    body_checksum=U64,
    sequence=U64,
    time_ns=U64,
    batch_index=U32,
    nuid=st.binary(min_size=16, max_size=16),
    chunk_index=U32,
    plain_length=U32,
    codec=U8,
    flags=U8,
)
def test_record_header_round_trip(  # noqa: PLR0917 - the fields of a header
    kind: Kind,
    key: bytes,
    position: int,
    body_length: int,
    body_checksum: int,
    sequence: int,
    time_ns: int,
    batch_index: int,
    nuid: bytes,
    chunk_index: int,
    plain_length: int,
    codec: int,
    flags: int,
) -> None:
    """A record header is read as it was written, wherever it stands in the data."""
    data, value = encode_record_header(
        MARKER,
        position,
        kind,
        key,
        body_length,
        body_checksum,
        sequence=sequence,
        time_ns=time_ns,
        batch_index=batch_index,
        nuid=nuid,
        chunk_index=chunk_index,
        plain_length=plain_length,
        codec=codec,
        flags=flags,
    )

    header = decode_record_header(b"junk" + data, 4, MARKER, position)

    assert header is not None
    assert tuple(header) == (
        kind,
        flags,
        codec,
        len(key),
        body_length,
        plain_length,
        chunk_index,
        batch_index,
        sequence,
        time_ns,
        nuid,
        position,
        body_checksum,
        value,
        key,
    )
    assert header.body_position == position + len(data)
    assert header.end == position + len(data) + body_length


def test_record_header_refuses_each_flip() -> None:
    """No flipped bit of header or key passes, not even in a reserved field."""
    data, _ = encode_record_header(
        MARKER, 256, Kind.META, b"key", 4, 1, sequence=1, time_ns=1, batch_index=0
    )
    for flipped in flips(data):
        assert decode_record_header(flipped, 0, MARKER, 256) is None


def test_record_header_refuses_another_place_and_another_marker() -> None:
    """A copied or misdirected record is not taken for one of this place."""
    data, _ = encode_record_header(
        MARKER, 256, Kind.META, b"key", 4, 1, sequence=1, time_ns=1, batch_index=0
    )

    assert decode_record_header(data, 0, MARKER, 256) is not None
    assert decode_record_header(data, 0, MARKER, 257) is None
    assert decode_record_header(data, 0, b"guessed!", 256) is None


def test_record_header_refuses_lengths_over_the_limit() -> None:
    """A valid checksum is no permission to allocate."""
    for key, body_length in ((b"k" * 1025, 0), (b"", (16 << 20) + 1)):
        data, _ = encode_record_header(
            MARKER,
            0,
            Kind.META,
            key,
            body_length,
            0,
            sequence=1,
            time_ns=1,
            batch_index=0,
        )

        assert decode_record_header(data, 0, MARKER, 0) is None


def test_record_header_refuses_each_cut() -> None:
    """A header that ends before its key ends is none."""
    data, _ = encode_record_header(
        MARKER, 0, Kind.META, b"key", 0, 0, sequence=1, time_ns=1, batch_index=0
    )
    for length in range(len(data)):
        assert decode_record_header(data[:length], 0, MARKER, 0) is None


@given(commits)
def test_commit_round_trip(commit: Commit) -> None:
    """A commit record is read as it was written."""
    data = encode_commit(
        commit, marker=MARKER, position=300, last_sequence=9, time_ns=2, batch_index=3
    )

    header = decode_record_header(data, 0, MARKER, 300)

    assert len(data) == COMMIT_BYTES
    assert header is not None
    assert (header.kind, header.sequence, header.batch_index) == (Kind.COMMIT, 9, 3)
    assert checksum(data[RECORD_HEADER_BYTES:]) == header.body_checksum
    assert decode_commit(data[RECORD_HEADER_BYTES:]) == commit


@given(heads())
def test_head_round_trip(head: Head) -> None:
    """A head is read as it was written, from either slot."""
    slot = encode_head_slot(head)
    data = bytearray(HEAD_BYTES)
    place = slot_position(head.generation)
    data[place : place + HEAD_SLOT_BYTES] = slot

    assert len(slot) == HEAD_SLOT_BYTES
    assert decode_head(bytes(data)) == head


def test_head_takes_the_newest_whole_slot() -> None:
    """Any flip in the newer slot leaves the older one, never a mix."""
    older = Head(b"l" * 16, 6, 1, 400, 4, 300, 3, 0, MARKER, 0)
    newer = older._replace(generation=7, written_position=500, written_sequence=5)
    assert slot_position(6) != slot_position(7)
    whole = encode_head_slot(older) + encode_head_slot(newer)
    assert decode_head(whole) == newer
    for flipped in flips(encode_head_slot(newer)):
        assert decode_head(encode_head_slot(older) + flipped) == older
    for flipped in flips(encode_head_slot(older)):
        assert decode_head(flipped + encode_head_slot(newer)) == newer


def test_store_header_survives_each_flip() -> None:
    """The STORE file has two copies; one is enough."""
    header = StoreHeader(1, b"s" * 16, 12_345)
    data = encode_store_header(header)
    assert decode_store_header(data) == header
    for flipped in flips(data):
        assert decode_store_header(flipped) == header
    assert decode_store_header(bytes(len(data))) is None
    assert decode_store_header(data[:63]) is None


entries = st.lists(
    st.tuples(
        st.integers(1, 50),
        st.integers(88, 2**32 - 1),
        st.sampled_from(sorted(frozenset(Kind) - {Kind.COMMIT, Kind.FOOTER})),
        U8,
        st.binary(max_size=20),
    ),
    max_size=30,
)


@given(segment_headers, entries)
def test_footer_round_trip(
    header: SegmentHeader, added: list[tuple[int, int, Kind, int, bytes]]
) -> None:
    """A footer gives the index back as it was, entry by entry."""
    index = SegmentIndex()
    sequence = 0
    expected: list[tuple[int, int, int, int, int, int, int]] = []
    for place, (step, length, kind, flags, key) in enumerate(added):
        sequence += step
        index.add_fields(sequence, place * 1000, length, kind, flags, key)
        has_subject = kind not in {Kind.CHUNK, Kind.ABORT}
        value = checksum(subject_of(kind, key)) if has_subject else 0
        expected.append((sequence, place * 1000, value, length, kind, flags, len(key)))
    body = encode_footer_body(header, sequence, index)

    trailer = decode_trailer(encode_trailer(4_096, body, 4_184))
    assert trailer is not None
    footer = decode_footer(trailer, body)

    assert footer is not None
    assert footer.header == header
    assert (footer.usable, footer.last_sequence) == (4_096, sequence)
    assert [footer.entries.entry(n) for n in range(len(footer.entries))] == expected


def test_footer_refuses_each_flip() -> None:
    """Neither a flipped trailer nor a flipped body is a footer."""
    index = SegmentIndex()
    some_batch().add_to(index)
    header = SegmentHeader(b"l" * 16, 3, 7, MARKER, 1, 2, 3, 6)
    body = encode_footer_body(header, 9, index)
    data = encode_trailer(900, body, 988)
    trailer = decode_trailer(data)
    assert trailer is not None
    assert len(body) == 128 + 24 + 3 * ENTRY_BYTES
    for flipped in flips(data):
        assert decode_trailer(flipped) is None
    for flipped in flips(body):
        assert decode_footer(trailer, flipped) is None
    assert decode_footer(trailer, body[:-1]) is None


@given(st.lists(st.integers(1, 5), min_size=1, max_size=40), st.integers(-3, 3))
def test_index_finds_exactly_what_it_has(steps: list[int], around: int) -> None:
    """Sequences with gaps are found, those in a gap are not."""
    index = SegmentIndex()
    sequences: list[int] = []
    last = 10
    for step in steps:
        last += step
        sequences.append(last)
        index.add_fields(last, last * 100, 100, Kind.META, 0, b"k")
    for sequence in range(sequences[0] - 3, last + 4 + around):
        found = index.find(sequence)
        place = index.place(sequence)
        assert (found is not None) == (sequence in sequences)
        assert all(one < sequence for one in sequences[:place])
        assert all(one >= sequence for one in sequences[place:])

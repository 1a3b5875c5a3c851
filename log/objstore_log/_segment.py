"""One segment file: its header, its index and its records, read through the port.

A `Segment` never writes. Its index comes from the footer when there is a valid one,
else from a scan; damage found on the way is kept, not raised.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from objstore_log._batch import record_of
from objstore_log._footer import (
    TRAILER_BYTES,
    Entry,
    Footer,
    SegmentIndex,
    close_runs,
    decode_trailer,
)
from objstore_log._format import (
    FORMAT_VERSION,
    NO_MARKER,
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    DecodedSegmentHeader,
    RecordHeader,
    SegmentHeader,
    checksum,
    decode_record_header,
    decode_segment_header,
)
from objstore_log._record import STRUCTURAL_KINDS, Record
from objstore_log._scan import (
    Damage,
    find_record_of_any,
    past_refusals,
    scan_records,
)
from objstore_log._sealed_index import read_footer
from objstore_log._storage import File, Storage
from objstore_log.errors import CorruptionError, StoreVersionError

SEGMENT_SUFFIX: Final = ".seg"


def segment_name(number: int, first_sequence: int) -> str:
    """Give a segment's file name; the first sequence in it saves opening the file."""
    return f"{number:08x}-{first_sequence:016x}{SEGMENT_SUFFIX}"


def parse_segment_name(name: str) -> tuple[int, int] | None:
    """Give (number, first sequence), `None` for any other file."""
    stem = name.removesuffix(SEGMENT_SUFFIX)
    number, _, first = stem.partition("-")
    if stem == name or len(number) != 8 or len(first) != 16:  # noqa: PLR2004 - name form
        return None
    try:
        return int(number, 16), int(first, 16)
    except ValueError:
        return None


class Opened(NamedTuple):
    """A file and what it says of itself."""

    file: File
    header: SegmentHeader


class Segment:
    """A segment as this process sees it."""

    def __init__(
        self,
        storage: Storage,
        log_id: bytes,
        number: int,
        first_sequence: int,
        fallback_marker: bytes | None = None,
    ) -> None:
        self.storage = storage
        self._log_id = log_id
        self.number = number
        self.first_sequence = first_sequence
        self.name = segment_name(number, first_sequence)
        self.damages: list[Damage] = []
        self.pins = 0
        """How many readers of this process hold the file."""
        self.is_own = False
        """This process has made it, and its name durable."""
        self._is_guessed = False
        self._fallback_marker = fallback_marker
        self._file: File | None = None
        self._header: SegmentHeader | None = None
        self._footer: Footer | None = None
        self._index: SegmentIndex | None = None

    @property
    def file(self) -> File:
        """Give the open file.

        Raises:
            FileNotFoundError: it was reclaimed.
        """
        file = self._file
        if file is None:
            file = self.storage.open(self.name)
            self._forget_other(file)
            self._file = file
        return file

    def _forget_other(self, file: File) -> None:
        """Forget what was read of the file that had this name before, if it did.

        Whoever still has its index meets no valid header where that points to, and
        looks again.
        """
        known = self._header
        if known is None and self._footer is not None:
            known = self._footer.header
        if known is None:
            return
        # a bad sector is told of by whoever reads it
        with suppress(OSError):
            found = decode_segment_header(file.read_at(0, SEGMENT_HEADER_BYTES))
            if found and found.header.marker != known.marker:
                self._header = self._footer = self._index = None
                self.damages = []

    def opened(self) -> Opened:
        """Give the open file together with the header that stands in it.

        For whoever reads again and again: the name may be another file's meanwhile.
        """
        while True:
            header, file = self.header, self.file
            if self._header is header:
                return Opened(file, header)

    def is_replaced(self) -> bool:
        """Say whether its name is another file's than the one that is open."""
        file, known = self._file, self._header
        if file is None or known is None:
            return False
        # one that went this moment is taken out of the list by whoever lists anew
        with suppress(OSError):
            other = self.storage.open(self.name)
            try:
                found = decode_segment_header(other.read_at(0, SEGMENT_HEADER_BYTES))
            finally:
                other.close()
            return found is not None and found.header.marker != known.marker
        return False

    def read_open(self, position: int, length: int, *, wait: bool) -> bytes | None:
        """Read bytes if the file is open, unverified; `None` when it is not.

        Args:
            position: where they begin.
            length: how many.
            wait: with `False`, give `None` instead of waiting for the disk.
        """
        file = self._file
        if file is None:
            return None
        if wait:
            return file.read_at(position, length)
        return file.try_read_at(position, length)

    def fill_open(self, position: int, target: memoryview, *, wait: bool) -> bool:
        """Fill a buffer as `read_open` reads; say whether all of it came."""
        file = self._file
        if file is None:
            return False
        fill = file.read_into if wait else file.try_read_into
        return fill(position, target) == len(target)

    def close(self) -> None:
        """Close the file; it opens again when needed."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def let_go(self) -> None:
        """Keep the file open no longer than the readers that are at it now."""
        self._file = None

    @property
    def header(self) -> SegmentHeader:
        """Give the header, from the file's start, its footer, or what is left of it.

        Raises:
            StoreVersionError: a newer version wrote it.
        """
        header = self._header
        if header is None:
            header = self._header = self._read_header()
        return header

    def _read_header(self) -> SegmentHeader:
        decoded = self._own_copies()
        if decoded is None:
            return self._header_of_damaged()
        if decoded.damaged_copy is not None:
            place = decoded.damaged_copy * (SEGMENT_HEADER_BYTES // 2)
            end = place + SEGMENT_HEADER_BYTES // 2
            self.damages.append(Damage(place, end, "one copy of the segment header"))
        if decoded.version > FORMAT_VERSION:
            raise StoreVersionError(
                path=self.path,
                found=decoded.version,
                supported=FORMAT_VERSION,
                what="segment format",
            )
        return decoded.header

    def _own_copies(self) -> DecodedSegmentHeader | None:
        """Read the header; that of another segment, put here by mistake, is none."""
        decoded = decode_segment_header(self.file.read_at(0, SEGMENT_HEADER_BYTES))
        return decoded if decoded and self._is_own(decoded.header) else None

    def _is_own(self, header: SegmentHeader) -> bool:
        return header.log_id == self._log_id and header.number == self.number

    def _header_of_damaged(self) -> SegmentHeader:
        """Give what is known when no copy at the file's start is readable.

        The marker is with every record too. Without one no record can be told from
        content: then all of them are lost, and nothing else is.
        """
        self.damages.append(Damage(0, SEGMENT_HEADER_BYTES, "segment header"))
        if self.footer is not None:
            return self.footer.header
        marker = self._fallback_marker
        if marker is None:
            self._is_guessed = True
            marker = self._marker_of_records() or NO_MARKER
        return SegmentHeader(
            self._log_id,
            self.number,
            self.first_sequence,
            marker,
            0,
            0,  # unknown: the previous one then ends at its footer or its size
            0,
            self.first_sequence - 1,
        )

    @property
    def is_rewritten(self) -> bool:
        """Say whether it is a copy without what nobody needed.

        Then gaps in its sequences are no loss, and its own header says where it ends.
        """
        return self.opened().header.is_rewritten

    def may_lack(self, start: int, end: int) -> bool:
        """Say whether numbers that are missing between two places may be lost ones."""
        return not self.is_rewritten or any(
            damage.position < end and damage.end > start
            for damage in self.damages
            if damage.position >= SEGMENT_HEADER_BYTES
        )

    def knows_itself(self) -> bool:
        """Say whether its header, its footer or the head tells what it is."""
        return self.header.marker != NO_MARKER and not self._is_guessed

    def _marker_of_records(self) -> bytes | None:
        """Give the marker that the records have, unless they are another segment's."""
        if decode_segment_header(self.file.read_at(0, SEGMENT_HEADER_BYTES)):
            return None
        found = find_record_of_any(self.file.read_at, self.file.size())
        if found is None or found[1].sequence < self.first_sequence:
            return None
        return found[0]

    @property
    def path(self) -> str:
        """Give what to call the file in messages."""
        return f"{self.storage.path}/{self.name}"

    @property
    def footer(self) -> Footer | None:
        """Give the valid footer, `None` when there is none.

        Looks again as long as there is none: another process may have sealed it.
        """
        if self._footer is None:
            self._footer = self._read_footer()
        return self._footer

    def lose_footer(self) -> None:
        """Know of none, whatever was read before: it was taken back."""
        self._footer = None

    def _read_footer(self) -> Footer | None:
        file = self.file
        size = file.size()
        if size < SEGMENT_HEADER_BYTES + TRAILER_BYTES:
            return None
        trailer = decode_trailer(file.read_at(size - TRAILER_BYTES, TRAILER_BYTES))
        if trailer is None or trailer.body_position + trailer.body_length > size:
            return None
        footer = read_footer(trailer, file.read_at, self._read_at, self._lose_index)
        if footer is None or not self._is_own(footer.header):
            return None
        own = self._own_copies()
        if own is None:
            return footer
        # content may hold a forged footer and a torn write may end just behind it
        return footer if footer.header.marker == own.header.marker else None

    def _lose_index(self) -> None:
        """Have the footer read again, or the records in its place."""
        self.drop_index()
        self.lose_footer()

    def _read_at(self, position: int, length: int) -> bytes:
        """Read the file that is open by then."""
        return self.file.read_at(position, length)

    def check_header(self) -> list[Damage]:
        """Read the header again; gives the damage that its copies show."""
        decoded = self._own_copies()
        half = SEGMENT_HEADER_BYTES // 2
        if decoded is None:
            return [Damage(0, SEGMENT_HEADER_BYTES, "segment header")]
        if decoded.damaged_copy is not None:
            start = decoded.damaged_copy * half
            return [Damage(start, start + half, "one copy of the segment header")]
        return []

    def footer_is_damaged(self, *, is_stated: bool) -> bool:
        """Read the footer again; a segment that never had one is not damaged.

        What a power cut left of an unfinished footer may look like a damaged one in
        every byte, so that the bytes are not asked.

        Args:
            is_stated: the next segment says that there is one.
        """
        had_footer = self._footer is not None or is_stated
        return had_footer and self._read_footer() is None

    def release_lock(self) -> None:
        """Free the reclaimer's lock on the file, if it is still open."""
        if self._file is not None:
            self._file.unlock()

    # --- index ----------------------------------------------------------------

    @property
    def loaded_index(self) -> SegmentIndex | None:
        """Give the index if it is in memory; another thread may drop it any time."""
        return self._index

    def index(self, usable: int) -> SegmentIndex:
        """Give the index of the records below `usable`, loading it when needed.

        Where a bad sector hides some it is not kept: the next one may have them.
        """
        index = self._index
        if index is None:
            footer = self.footer
            if footer is not None:
                index = footer.entries
            else:
                try:
                    index = self._scan_index(usable)
                except OSError as error:
                    if error.errno != errno.EIO:
                        raise
                    return self._scan_index(usable, is_scrub=True)
            self._index = index
        return index

    def set_index(self, index: SegmentIndex, header: SegmentHeader) -> None:
        """Take what was built while the segment was written."""
        self._index = index
        self._header = header

    def drop_index(self) -> None:
        """Free the index; it is loaded again when needed."""
        self._index = None

    def _scan_index(self, usable: int, *, is_scrub: bool = False) -> SegmentIndex:
        index = SegmentIndex()
        for item in self.scan(
            SEGMENT_HEADER_BYTES, usable, verify_bodies=False, is_scrub=is_scrub
        ):
            if isinstance(item, Damage):
                if item not in self.damages:
                    self.damages.append(item)
            elif item.kind not in STRUCTURAL_KINDS and (
                item.sequence > index.last_sequence
            ):
                index.add(item)
        return index

    def scan(
        self,
        start: int,
        end: int,
        *,
        verify_bodies: bool,
        is_scrub: bool = False,
        opened: Opened | None = None,
    ) -> Iterator[RecordHeader | Damage]:
        """Give records and damage in a range of positions.

        Only for a scrub a bad sector is damage: recovery must not go on without what
        the disk may give the next time.
        """
        file, header = self.opened() if opened is None else opened
        return scan_records(
            past_refusals(file.read_at) if is_scrub else file.read_at,
            start,
            min(end, file.size()),
            header.marker,
            verify_bodies=verify_bodies,
        )

    # --- records --------------------------------------------------------------

    def read_entries(
        self, entries: list[Entry], *, wait: bool = True
    ) -> list[Record] | None:
        """Read records that stand close together, with one read where possible.

        Args:
            entries: in order of position.
            wait: with `False`, give `None` instead of waiting for the disk.

        Raises:
            CorruptionError: a record is damaged.
        """
        records: list[Record] = []
        for run in close_runs(entries):
            start = run[0].position
            length = run[-1].position + run[-1].length - start
            if wait:
                data = past_refusals(self.file.read_at)(start, length)
            else:
                tried = self.file.try_read_at(start, length)
                if tried is None:
                    return None
                data = tried
            view = memoryview(data)
            records += [self._record(view, start, entry) for entry in run]
        return records

    def read_time(self, entry: Entry) -> int | None:
        """Give a record's time from its header alone; `None` when that is damaged."""
        length = RECORD_HEADER_BYTES + entry.key_length
        data = self.file.read_at(entry.position, length)
        header = decode_record_header(data, 0, self.header.marker, entry.position)
        return None if header is None else header.time_ns

    def _record(self, data: memoryview, start: int, entry: Entry) -> Record:
        place = entry.position - start
        header = decode_record_header(data, place, self.header.marker, entry.position)
        if header is None or header.sequence != entry.sequence:
            raise self._corrupt(entry, "no valid record header")
        body_start = place + RECORD_HEADER_BYTES + header.key_length
        body = data[body_start : body_start + header.body_length]
        if len(body) < header.body_length:
            raise self._corrupt(entry, "the file ends inside the record", header.key)
        if checksum(body) != header.body_checksum:
            raise self._corrupt(entry, "body checksum differs", header.key)
        return record_of(header, body)

    def _corrupt(self, entry: Entry, reason: str, key: bytes = b"") -> CorruptionError:
        return CorruptionError(
            path=self.path,
            segment=self.number,
            position=entry.position,
            sequence=entry.sequence,
            name=key.decode(errors="replace") or None,
            reason=reason,
        )

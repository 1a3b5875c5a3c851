"""Reading everything again: a scrub of one log, in stretches."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, NamedTuple

from objstore_log._core import VANISHED_MAX, LogCore
from objstore_log._format import SEGMENT_HEADER_BYTES
from objstore_log._reader import Reader
from objstore_log._record import STRUCTURAL_KINDS, Kind
from objstore_log._refusals import refusals
from objstore_log._scan import Damage
from objstore_log._segment import Segment

STRETCH_BYTES: Final = 8 * 1024 * 1024


class ScrubToken(NamedTuple):
    """Where the next stretch begins."""

    segment: int
    position: int


class FoundDamage(NamedTuple):
    """A damaged stretch and what it hit."""

    segment: int
    damage: Damage
    sequences: tuple[int, ...]
    """The numbered records that lie in it, as far as they can be known."""
    is_structure: bool = False
    """It is a header or a footer."""


class ScrubPage(NamedTuple):
    """What a stretch held; `token` is `None` behind the last."""

    damages: list[FoundDamage]
    bytes: int
    token: ScrubToken | None
    missing: tuple[tuple[int, int], ...] = ()
    """With the first stretch: ranges of sequences that lie in no segment, because they
    were reclaimed, or because it is lost."""


class Scrubber:
    """Checks every checksum of a log."""

    def __init__(self, core: LogCore, reader: Reader) -> None:
        self._core = core
        self._reader = reader

    def scrub(self, token: ScrubToken | None, stretch_bytes: int) -> ScrubPage:
        """Check the stretch at a token (`None`: the first)."""
        with refusals(self._core.storage.path, "read"):
            for _ in range(VANISHED_MAX):
                self._core.catch_up()
                # a segment that another process unlinks meanwhile is not damaged
                with suppress(FileNotFoundError):
                    return self._scrub(token, stretch_bytes)
                with self._core.mutex:
                    self._core.segments.refresh()
            return self._scrub(token, stretch_bytes)

    def _missing(self) -> tuple[tuple[int, int], ...]:
        ranges: list[tuple[int, int]] = []
        behind = 1
        number = 0
        for segment in self._core.segments:
            if segment.number != number + 1 and segment.first_sequence > behind:
                ranges.append((behind, segment.first_sequence - 1))
            index = self._reader.index(segment)
            behind = max(index.last_sequence + 1, segment.first_sequence)
            number = segment.number
        return tuple(ranges)

    def _scrub(self, token: ScrubToken | None, stretch_bytes: int) -> ScrubPage:
        segment = self._segment_at(token)
        if segment is None:
            return ScrubPage([], 0, None)
        last = self._core.segments.active.number
        start = SEGMENT_HEADER_BYTES
        damages: list[FoundDamage] = []
        if token is not None and token.segment == segment.number:
            start = _begin(segment, token.position)
        if start == SEGMENT_HEADER_BYTES:
            damages += self._check_frame(segment)
        usable = self._reader.usable(segment)
        stop, found = self._check_records(segment, start, usable, stretch_bytes)
        following = ScrubToken(segment.number, stop)
        if stop >= usable:
            following = ScrubToken(segment.number + 1, SEGMENT_HEADER_BYTES)
        return ScrubPage(
            damages + found,
            stop - start,
            following if following.segment <= last else None,
            self._missing() if token is None else (),
        )

    def _segment_at(self, token: ScrubToken | None) -> Segment | None:
        wanted = 0 if token is None else token.segment
        for segment in self._core.segments:
            if segment.number >= wanted:
                return segment
        return None

    def _check_frame(self, segment: Segment) -> list[FoundDamage]:
        """Check the copies of the header, and the footer of a finished segment."""
        damages = [
            FoundDamage(segment.number, damage, (), is_structure=True)
            for damage in segment.check_header()
        ]
        following = self._core.segments.following(segment)
        is_stated = self._core.segments.is_stated_sealed(segment)
        if following is not None and segment.footer_is_damaged(is_stated=is_stated):
            end = segment.file.size()
            damage = Damage(self._reader.usable(segment), end, "footer")
            found = FoundDamage(segment.number, damage, (), is_structure=True)
            damages.append(found)
        return damages

    def _check_records(
        self, segment: Segment, start: int, usable: int, stretch_bytes: int
    ) -> tuple[int, list[FoundDamage]]:
        found: list[FoundDamage] = []
        position = start
        last_sequence = 0
        gap: Damage | None = None
        for item in segment.scan(start, usable, verify_bodies=True, is_scrub=True):
            if isinstance(item, Damage) and item.header is None:
                gap = item
                position = item.end
                continue
            header = item.header if isinstance(item, Damage) else item
            assert header is not None
            if gap is not None:
                hit = self._lost(segment, gap, last_sequence, header.sequence)
                found.append(FoundDamage(segment.number, gap, hit))
                gap = None
            if isinstance(item, Damage):
                numbered = header.kind not in STRUCTURAL_KINDS
                hit = (header.sequence,) if numbered else ()
                found.append(FoundDamage(segment.number, item, hit))
            last_sequence = header.sequence
            position = header.end
            if position - start >= stretch_bytes and header.kind == Kind.COMMIT:
                return position, found
        if gap is not None or self._lacks_its_end(segment, usable, last_sequence):
            gap = self._end_gap(segment, usable, gap, position)
            hit = self._lost(segment, gap, last_sequence, None)
            found.append(FoundDamage(segment.number, gap, hit))
        return max(position, usable), found

    def _lacks_its_end(self, segment: Segment, usable: int, last_sequence: int) -> bool:
        """Say whether more was there than what the last valid record ends."""
        if segment.file.size() < usable:
            return True
        following = self._core.segments.following(segment)
        if following is None:
            return False
        if following.first_sequence <= segment.first_sequence:
            # nobody built on it: a segment whose making was refused is made anew
            return False
        if following.header.previous_number != segment.number:
            # what stood behind it was reclaimed, so it was sealed
            return segment.footer is None
        # who took over a file that was cut has stated its new length, and this
        stated = following.header.previous_last_sequence
        return max(last_sequence, segment.first_sequence - 1) < stated

    def _end_gap(
        self, segment: Segment, usable: int, gap: Damage | None, position: int
    ) -> Damage:
        """Give what is damaged or gone behind the last valid record."""
        size = segment.file.size()
        if size < usable:
            begin = size if gap is None else gap.position
            reason = "the file ends before what it held"
            return Damage(begin, usable, reason, is_missing=True)
        if gap is not None:
            return gap
        end = max(position, usable)
        return Damage(position, end, "its end is missing", is_missing=True)

    def _last_of(self, segment: Segment) -> int:
        """Give the last sequence that a segment can hold."""
        following = self._core.segments.following(segment)
        if following is None:
            return self._core.progress.written.sequence
        header = following.header
        if header.previous_number == segment.number:
            return header.previous_last_sequence
        return following.first_sequence - 1

    def _lost(
        self, segment: Segment, gap: Damage, before: int, behind: int | None
    ) -> tuple[int, ...]:
        """Give the sequences that a stretch without valid headers held."""
        footer = segment.footer
        if footer is not None:
            entries = footer.entries
            return tuple(
                entry.sequence
                for entry in map(entries.entry, range(len(entries)))
                if gap.position <= entry.position < gap.end
            )
        index = self._reader.index(segment)
        known = {index.sequence(place) for place in range(len(index))}
        first = max(before, segment.first_sequence - 1) + 1
        end = self._last_of(segment) + 1 if behind is None else behind
        inside = range(first, end)
        lost = [sequence for sequence in inside if sequence not in known]
        # an index that was built before the damage still knows the place
        lost += [
            entry.sequence
            for sequence in inside
            if (entry := index.find(sequence)) is not None
            and gap.position <= entry.position < gap.end
        ]
        return tuple(sorted(set(lost)))


def _begin(segment: Segment, position: int) -> int:
    """Give where to go on: in a copy made since, a place may be inside of a record."""
    if not segment.is_rewritten or segment.footer is None:
        return position
    entries = segment.footer.entries
    low, high = 0, len(entries)
    while low < high:
        middle = (low + high) // 2
        if entries.entry(middle).position <= position:
            low = middle + 1
        else:
            high = middle
    return entries.entry(low - 1).position if low else SEGMENT_HEADER_BYTES

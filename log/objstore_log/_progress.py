"""How far a log has come: written and durable, asserted in the only setter. Pure."""

from __future__ import annotations

from typing import NamedTuple


class End(NamedTuple):
    """A place between two batches."""

    segment: int
    position: int
    sequence: int
    """The last sequence below it."""


class Progress:
    """The two ends of a log as this process knows them.

    Invariant: durable <= written, and neither sequence ever goes back.
    """

    __slots__ = ("durable", "is_relaxed", "written")

    def __init__(self, start: End, *, is_relaxed: bool) -> None:
        self.written = start
        self.durable = start
        self.is_relaxed = is_relaxed
        """Readers may see what is written but not yet durable."""

    def advance(
        self, *, written: End | None = None, durable: End | None = None
    ) -> None:
        """Move forward; the only place that sets either end."""
        new_written = self.written if written is None else written
        new_durable = self.durable if durable is None else durable
        assert new_durable.sequence <= new_written.sequence
        assert new_written.sequence >= self.written.sequence
        assert new_durable.sequence >= self.durable.sequence
        assert (new_durable.segment, new_durable.position) <= (
            new_written.segment,
            new_written.position,
        )
        self.written = new_written
        self.durable = new_durable

    @property
    def visible_sequence(self) -> int:
        """Give the greatest sequence that a reader may see."""
        end = self.written if self.is_relaxed else self.durable
        return end.sequence

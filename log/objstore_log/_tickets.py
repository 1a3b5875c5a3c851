"""Appends on their way: what each one wants, and the queue that they wait in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from objstore_log._batch import batch_bytes, check_record
from objstore_log._record import Appended, NewRecord
from objstore_log.errors import ObjStoreError

BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""A batch takes further appends until it has this many bytes."""
BATCH_RECORDS_MAX: Final = 4_096
ALONE_BYTES_MIN: Final = 256 * 1024
"""Chunks that nobody sees yet, and that take longer to write than a commit does."""

GuardTotals: TypeAlias = dict[str, int]
"""What earlier appends of a batch add up to, by names that the guards choose."""
Guard: TypeAlias = Callable[[GuardTotals], None]
"""Called in log order, under the lock, with what earlier appends of the same batch
have added; raises an `ObjStoreError` to refuse the append."""


def _nobody(_: Ticket) -> None:
    """Tell nobody that a ticket is done."""


def _wake_nobody() -> None:
    """Wake nobody behind a batch."""


@dataclass(eq=False, slots=True)
class Ticket:
    """An append on its way: what to write, and later what came of it."""

    records: Sequence[NewRecord]
    expect: Mapping[bytes, int]
    guard: Guard | None
    is_visible: bool
    """False for chunks that no meta refers to yet; they need no sync of their own."""
    on_done: Callable[[Ticket], None] = _nobody
    length: int = field(init=False)
    is_withdrawn: bool = False
    is_taken: bool = False
    """It is in a commit; withdrawing it comes too late."""
    is_done: bool = False
    appended: Appended | None = None
    error: ObjStoreError | None = None
    wake: Callable[[], None] = _wake_nobody
    """Called once behind the `on_done` of all tickets of a batch that share it."""
    lock_timeout_s: float | None = None
    """How long it waits while another process has the lock; `None` is without end."""
    queued_s: float = 0.0

    def __post_init__(self) -> None:
        """Measure it once."""
        for record in self.records:
            check_record(record)
        self.length = batch_bytes(self.records)

    def succeed(self, appended: Appended) -> None:
        """Say where it went."""
        assert not self.is_done
        self.appended = appended
        self.is_done = True

    def fail(self, error: ObjStoreError) -> None:
        """Say why it was refused; the first reason stays."""
        if not self.is_done:
            self.error = error
            self.is_done = True

    def result(self) -> Appended:
        """Give the outcome of a finished ticket."""
        if self.error is not None:
            raise self.error
        assert self.appended is not None
        return self.appended


def tell(tickets: Sequence[Ticket]) -> None:
    """Call every finished ticket's owner, even if Ctrl-C arrives in between.

    Who is woken before all are told takes the interpreter from those that are not.
    """
    remaining = deque(tickets)
    # in their order, each once
    wakes = dict.fromkeys(ticket.wake for ticket in tickets)
    try:
        while remaining:
            ticket = remaining.popleft()
            ticket.on_done(ticket)
    finally:
        for ticket in remaining:
            ticket.on_done(ticket)
        for wake in wakes:
            wake()


class TicketQueue:
    """Tickets that wait for a commit; any thread adds, one at a time takes."""

    def __init__(self) -> None:
        self._tickets: deque[Ticket] = deque()
        self._is_turn_of_large = False
        """Chunks of a large put were passed over by the last batch."""

    def __len__(self) -> int:
        """Count the waiting tickets."""
        return len(self._tickets)

    def add(self, ticket: Ticket) -> None:
        """Queue a ticket."""
        self._tickets.append(ticket)

    def has_any(self, admits: Callable[[Ticket], bool]) -> bool:
        """Say whether any waiting ticket is of a kind."""
        return any(map(admits, list(self._tickets)))

    def take_those(self, admits: Callable[[Ticket], bool]) -> list[Ticket]:
        """Take the tickets of a kind out of the order."""
        taken = [ticket for ticket in list(self._tickets) if admits(ticket)]
        for ticket in taken:
            self._tickets.remove(ticket)
        return taken

    def take(self) -> list[Ticket]:
        """Take as many as one batch holds, at least one when there is one.

        Chunks of a large put ride alone, in turns with the others: who waits for an
        acknowledgement takes no megabytes along, and waits for one such ride at most.
        """
        taken: list[Ticket] = []
        alone: Ticket | None = None
        length = count = 0
        for ticket in list(self._tickets):
            if not ticket.is_visible and ticket.length >= ALONE_BYTES_MIN:
                alone = alone or ticket
                continue
            length += ticket.length
            count += len(ticket.records)
            full = length > BATCH_BYTES_MAX or count > BATCH_RECORDS_MAX
            if taken and full:
                break
            taken.append(ticket)
        if alone is not None and (self._is_turn_of_large or not taken):
            taken = [alone]
        self._is_turn_of_large = alone is not None and taken[0] is not alone
        for ticket in taken:
            self._tickets.remove(ticket)
        return taken

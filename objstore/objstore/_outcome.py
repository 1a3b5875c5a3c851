"""Awaiting an append: no cancel parts it from what has to follow it.

The task that waits may be cancelled at any moment, more than once, and its event loop
may end. Whoever comes last, the task or the thread that commits, settles the append.
"""

from __future__ import annotations

from contextlib import suppress
from threading import Lock

import anyio

from objstore._bucket_log import BucketLog, Prepared, ticket_of
from objstore._engine import Append, AppendResult
from objstore._loop_wake import current_waker, outlast
from objstore.errors import ObjStoreError
from objstore_log import Ticket, patience


async def committed(
    bucket: BucketLog, op: Append, lock_timeout_s: float | None = None
) -> AppendResult:
    """Append, and wait for the outcome.

    A cancellation takes the append back while it is still queued; when a commit has it
    already, the outcome is awaited. Either way the cancelled call raises, and of a put
    that did not happen everything is given back.
    """
    prepared = bucket.prepare(op)
    waker, done, claim = current_waker(), anyio.Event(), Lock()
    is_left = False

    # Takes the ticket instead of closing over it: a ticket that its own callback holds
    # waits for the collector, and a large put's slabs with it.
    def settle(ticket: Ticket) -> None:
        if ticket.is_done and claim.acquire(blocking=False):
            _settle(bucket, op, prepared, ticket)

    def tell(ticket: Ticket) -> None:
        if is_left:
            settle(ticket)
        else:
            waker.add(done)

    ticket = ticket_of(op, prepared, tell)
    ticket.wake = waker.flush
    with patience(lock_timeout_s):
        # not around a wait, which may end in another context
        bucket.log.enqueue(ticket)
    # a loop that ends before that leaves it to the next commit, or to the log's end
    waker.begin(bucket.log.begin)
    try:
        await done.wait()
    except BaseException as error:
        ticket.is_withdrawn = True
        if not isinstance(error, GeneratorExit):
            await outlast(done)
        # said before the look at the outcome, so that one of the two settles it
        is_left = True
        settle(ticket)
        raise
    return bucket.finish(op, prepared, ticket.result())


def _settle(bucket: BucketLog, op: Append, prepared: Prepared, ticket: Ticket) -> None:
    """Note what came of an append whose put is given up."""
    with suppress(ObjStoreError, OSError):
        if ticket.error is None:
            bucket.finish(op, prepared, ticket.result())
        for nuid in {record.nuid for record in op.records}:
            # a put that happened is no longer unfinished, and stays
            bucket.submit_abort(nuid, _nobody)


def _nobody(_: Ticket) -> None:
    """Tell nobody."""


def submit_abort(bucket: BucketLog, nuid: bytes) -> None:
    """Say that a put's chunks are garbage; does not wait."""
    bucket.submit_abort(nuid, _nobody)


async def aborted(bucket: BucketLog, nuid: bytes) -> None:
    """Say that a put's chunks are garbage, and wait until the log has it."""
    waker, done = current_waker(), anyio.Event()

    def tell(_: Ticket) -> None:
        waker.set(done)

    ticket = bucket.submit_abort(nuid, tell)
    if ticket is None:
        return
    cancelled = await outlast(done)
    if cancelled is not None:
        raise cancelled
    if ticket.is_done:
        ticket.result()

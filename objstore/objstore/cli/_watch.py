"""The command that follows changes."""

from __future__ import annotations

import json
import select
import sys
from datetime import datetime
from itertools import count as counting
from typing import Annotated, Any, Final

from cyclopts import Parameter, Token

from objstore import BusyError, Change
from objstore.blocking import Watch
from objstore.cli import _render
from objstore.cli._context import Context, Shared, print_line, write
from objstore.cli._failures import UsageError, interruption_status
from objstore.cli._values import Place, prefix_at, start_of

LOOK_S: Final = 1.0
"""How often a watch that has nothing to tell looks whether anybody reads."""


def _start(_: Any, tokens: tuple[Token, ...]) -> str | int | datetime:
    return start_of(tokens[0].value)


def watch(
    place: Annotated[str, Parameter(name="BUCKET/[PREFIX]")],
    /,
    *,
    start: Annotated[
        str | int | datetime,
        Parameter(
            converter=_start,
            n_tokens=1,
            metavar="START",
            help="Where to start: current (current values, then changes), new, all, a "
            "sequence, or a time.",
        ),
    ] = "current",
    after: Annotated[
        str | None, Parameter(help="A cursor to go on behind, instead of --start.")
    ] = None,
    kinds: Annotated[
        str | None,
        Parameter(help="Which changes, as put,delete,meta,link,expire,seal,config."),
    ] = None,
    ignore_deletes: Annotated[
        bool, Parameter(help="Leave deletions and expiries out.")
    ] = False,
    count: Annotated[int | None, Parameter(help="End after so many changes.")] = None,
    no_follow: Annotated[
        bool, Parameter(help="End when all that there is has been given.")
    ] = False,
    context: Shared,
) -> int:
    """Follow the changes of a bucket, one line each, until interrupted.

    With --json every line is a document, with the cursor just behind it.
    """
    if no_follow and start == "new" and after is None:
        problem = "--no-follow with --start new would give nothing"
        raise UsageError(problem)
    at = prefix_at(place)
    options: dict[str, Any] = {
        "start": start,
        "after": after,
        "kinds": None if kinds is None else kinds.split(","),
        "ignore_deletes": ignore_deletes,
    }
    try:
        _follow(context, at, options, count=count, no_follow=no_follow)
    except KeyboardInterrupt as error:
        # How a watch ends; nothing is lost by it that would have to be told.
        return interruption_status(error)
    return 0


def _follow(
    context: Context,
    at: Place,
    options: dict[str, Any],
    *,
    count: int | None,
    no_follow: bool,
) -> None:
    with (
        context.open() as store,
        store.object_store(at.bucket).watch(at.name, **options) as changes,
    ):
        for done in counting(1):
            change = _next(changes, no_follow=no_follow)
            if change is None:
                return
            _print(context, change, changes.cursor)
            if done == count:
                return


def _next(changes: Watch, *, no_follow: bool) -> Change | None:
    """Give the next change; `None` when there is none and nobody waits for one."""
    while True:
        try:
            change = changes.updates(timeout=LOOK_S)
        except BusyError:
            raise
        except TimeoutError:
            _check_reader()
            continue
        # `None` is the end of what there was; what follows is a change.
        if change is not None or no_follow:
            return change


def _check_reader() -> None:
    """Raise `BrokenPipeError` when nobody reads any more, without a change to print."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if poll.poll(0):
        raise BrokenPipeError


def _print(context: Context, change: Change, cursor: str | None) -> None:
    if context.is_json:
        write(json.dumps(_render.change_document(change, cursor)), flush=True)
    else:
        print_line(_render.change_line(change), flush=True)

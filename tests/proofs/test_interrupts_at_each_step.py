"""Ctrl-C behind each step of the interpreter in a put: no lock stays taken.

A signal handler runs where the interpreter looks for signals: behind a call, at the
start of a function, at the end of a loop's turn. Here it runs at each of these places
in turn, and the next put has to come back.
"""

from __future__ import annotations

import dis
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import anyio
import pytest

import objstore
import objstore_log
from objstore import blocking

PACKAGES = tuple(
    str(Path(package.__file__ or "").parent) for package in (objstore, objstore_log)
)
LOOKS = ("CALL", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD")
FACES = ["sync", "asyncio", "trio"]
pytestmark = [
    # What waits for a lock for ever hears no signal either.
    pytest.mark.timeout(100, method="thread"),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="other bytecode"),
]


@cache
def places_of(code: CodeType) -> frozenset[int]:
    """Give the instructions before which a signal's handler may run."""
    parse: Any = getattr(dis, "_parse_exception_table")  # noqa: B009 - private
    table = [(entry.start, entry.end, entry.target) for entry in parse(code)]

    def catcher(offset: int) -> int | None:
        return next((to for start, end, to in table if start <= offset < end), None)

    steps = list(dis.get_instructions(code))
    return frozenset(
        after.offset
        for before, after in pairwise(steps)
        # Traced, it is raised an instruction too late: where another one catches.
        if before.opname in LOOKS and catcher(before.offset) == catcher(after.offset)
    )


@contextmanager
def interrupted_at(place: int, files: tuple[str, ...]) -> Generator[Callable[[], bool]]:
    """Send SIGINT at the place of that number, counted while running."""
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        code = frame.f_code
        if not code.co_filename.startswith(files):
            return trace
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_lasti in places_of(code):
            seen += 1
            if seen == place:
                signal.raise_signal(signal.SIGINT)
        return trace

    sys.settrace(trace)
    try:
        yield lambda: seen >= place
    finally:
        sys.settrace(None)


def put_in(face: str, url: str, name: str, around: Callable[[], Any]) -> None:
    """Put an object through a handle of its own."""
    if face == "sync":
        with objstore.open(url, retention_interval=None) as store, around():
            store.object_store("b").put(name, b"content")
        return

    async def put() -> None:
        async with objstore.connect(url, retention_interval=None) as store:
            bucket = await store.object_store("b")
            with around():
                await bucket.put(name, b"content")

    anyio.run(put, backend=face)


def interrupt(
    face: str, store: blocking.Store, place: int, files: tuple[str, ...]
) -> bool:
    """Interrupt a put at a place, then put again; False when it ended before."""
    ended = False

    @contextmanager
    def around() -> Generator[None]:
        nonlocal ended
        with interrupted_at(place, files) as is_reached:
            try:
                yield
            finally:
                ended = not is_reached()

    with suppress(KeyboardInterrupt):
        put_in(face, store.url, "interrupted", around)
    put_in(face, store.url, "after", suppress)
    assert store.object_store("b").get("after") == b"content"
    return not ended


def interrupt_everywhere(face: str, path: Path, files: tuple[str, ...]) -> int:
    """Interrupt puts at one place after the other; give their number."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    place = 1
    try:
        with objstore.open(path, retention_interval=None, scrub_rate=None) as store:
            store.create_object_store("b")
            while interrupt(face, store, place, files):
                place += 1
    finally:
        signal.signal(signal.SIGINT, before)
    return place


@pytest.mark.parametrize("face", FACES)
def test_put_takes_no_lock_that_an_interrupt_may_leave_taken(
    face: str, tmp_path: Path
) -> None:
    """`threading` takes and gives back some of its locks in Python: none of those."""
    assert interrupt_everywhere(face, tmp_path / "s", (threading.__file__,)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("face", FACES)
def test_interrupt_behind_any_step_leaves_all_locks_free(
    face: str, tmp_path: Path
) -> None:
    """The same in the whole of the code of the store."""
    files = (threading.__file__, *PACKAGES)
    assert interrupt_everywhere(face, tmp_path / "s", files) > 500

"""The two drivers of the object logic: blocking, and awaiting.

Both hand every exception to the logic first, cancellation and Ctrl-C included, so that
it can clean up behind itself with further operations.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from inspect import GEN_CLOSED, getgeneratorstate
from typing import Any, TypeVar, cast

from objstore._effects import Effect
from objstore._engine import Capability, Engine, Op, Steps
from objstore._loop_wake import in_thread, shielded

T = TypeVar("T")


def run(engine: Engine, steps: Steps[T]) -> T:
    """Carry object logic out, blocking this thread."""
    advance: Any = steps.send
    value: Any = None
    while True:
        try:
            op: Op[Any] = advance(value)
            value = op.perform(engine) if isinstance(op, Effect) else engine.run(op)
            advance = steps.send
        except StopIteration as end:
            return cast("T", end.value)
        except BaseException as error:
            if getgeneratorstate(steps) == GEN_CLOSED:
                value = None
                raise
            # Also for an interrupt that came between two operations.
            advance, value = steps.throw, error


async def arun(engine: Engine, steps: Steps[T]) -> T:
    """Carry object logic out on an event loop.

    Guarantee: a cancellation reaches the logic, whose cleaning up is shielded.
    """
    advance: Any = steps.send
    value: Any = None
    while True:
        try:
            op: Op[Any] = advance(value)
            if isinstance(op, Effect):
                value = await op.aperform(engine)
            else:
                value = await engine.arun(op)
            advance = steps.send
        except StopIteration as end:
            return cast("T", end.value)
        except GeneratorExit as error:
            # nothing can be awaited any more; finalizers give back what is left
            while getgeneratorstate(steps) != GEN_CLOSED:
                with suppress(GeneratorExit, StopIteration):
                    steps.throw(error)
            raise
        except BaseException as error:
            if getgeneratorstate(steps) == GEN_CLOSED:
                value = None
                raise
            advance, value = steps.throw, error


@dataclass(frozen=True, slots=True)
class Together(Effect[T]):
    """Carry logic out at a stretch: awaited, in one worker thread.

    For what reads, hashes and copies by turns: a hop for each costs more than each.
    A cancelled caller waits for its end, so that it is to be short.
    """

    steps: Steps[T]

    def perform(self, engine: Engine) -> T:
        """Carry it out in this thread."""
        return run(engine, self.steps)

    async def aperform(self, engine: Engine) -> T:
        """Carry it out in another thread, unless the engine can only be awaited."""
        if Capability.SYNCHRONOUS in engine.capabilities:
            return await in_thread(partial(run, engine, self.steps))
        return await arun(engine, self.steps)


@dataclass(frozen=True, slots=True)
class Shielded(Effect[T]):
    """Carry logic out to its end, however often the caller is cancelled meanwhile.

    Raises `TimeoutError` when that takes longer than `SHIELD_S`.
    """

    steps: Steps[T]

    def perform(self, engine: Engine) -> T:
        """Carry it out."""
        return run(engine, self.steps)

    async def aperform(self, engine: Engine) -> T:
        """Carry it out apart from the cancelled task, which waits for it."""
        return await shielded(partial(arun, engine, self.steps))

"""What a store may hold when some calls failed: every outcome that is still open."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.torture.crash_steps import Contents, Step

from objstore.blocking import Store
from objstore.errors import BucketNotFoundError, SealedError, StorageError

OPEN_MAX = 12
"""Unsettled steps of one trial; the outcomes double with each."""


class Outcome(NamedTuple):
    """One way in which things may have gone."""

    happened: frozenset[int]
    """Which of the steps that failed took effect all the same."""
    contents: Contents


@dataclass
class Outcomes:
    """All the ways in which things may have gone, narrowed by every look."""

    left: list[Outcome] = field(default_factory=list[Outcome])
    _steps: int = 0
    _settled: set[str] = field(default_factory=set[str])
    """Buckets whose own log has gone on."""
    _decided: set[str] = field(default_factory=set[str])
    """Buckets that were made or deleted since."""

    @classmethod
    def of(cls, contents: Contents) -> Outcomes:
        """Begin with contents that are known."""
        return cls([Outcome(frozenset(), contents)])

    def done(self, step: Step) -> None:
        """A step was acknowledged; what failed in its bucket before is settled."""
        was_there = any(step.bucket in outcome.contents for outcome in self.left)
        changed = [
            outcome._replace(contents=step.change(outcome.contents))
            for outcome in self.left
        ]
        if step.kind == "create" and was_there:
            # it was there, unless it goes by what failed before
            changed += [one for one in self.left if one not in changed]
        self.left = changed
        if step.kind == "drop" or (step.kind == "create" and not was_there):
            self._decided.add(step.bucket)
        elif step.changes:
            self._settled.add(step.bucket)

    def unknown(self, step: Step) -> None:
        """A step failed, and may have taken effect or may yet."""
        self._steps += 1
        assert self._steps <= OPEN_MAX, "too many outcomes to follow"
        self._settled.discard(step.bucket)
        self._decided.discard(step.bucket)
        for outcome in list(self.left):
            after = step.change(outcome.contents)
            if after != outcome.contents:
                # a bucket that could not be made whole is taken back, if that can be
                happened = outcome.happened | {self._steps}
                if step.kind == "create":
                    happened = outcome.happened
                self.left.append(Outcome(happened, after))

    def look(self, found: Contents) -> None:
        """Compare with what is seen; what was seen once stays.

        Raises:
            AssertionError: nothing that was told can have led to this.
        """
        seen = [one for one in self.left if one.contents == found]
        assert seen, f"{_named(found)} is none of {[_named(o[1]) for o in self.left]}"
        self.left = [
            one
            for one in self.left
            if any(one.happened >= other.happened for other in seen)
            and all(
                one.contents.get(bucket) in (None, found.get(bucket))
                for bucket in self._settled
            )
            and all(
                one.contents.get(bucket) == found.get(bucket)
                for bucket in self._decided
            )
        ]
        self._settled.clear()
        self._decided.clear()

    def half_made(self) -> set[str]:
        """Give the buckets of which nobody knows whether they were made."""
        known = [set(outcome.contents) for outcome in self.left]
        return set[str]().union(*known) - known[0].intersection(*known)


def _named(contents: Contents) -> dict[str, dict[str, str]]:
    """Shorten contents for a message."""
    return {
        bucket: {
            name: f"{len(data)} bytes {data[:4].hex()}" for name, data in of.items()
        }
        for bucket, of in contents.items()
    }


def contents_of(store: Store, half_made: Collection[str] = ()) -> Contents:
    """Read everything; buckets that were never made whole may refuse it."""
    found: Contents = {}
    for bucket in store.object_store_names():
        try:
            handle = store.object_store(bucket)
        except StorageError:
            if bucket not in half_made:
                raise
            continue
        found[bucket] = {
            info.name: handle.get(info.name)
            for info in handle.list()
            if info.link is None
        }
    return found


def serve(store: Store, name: str, half_made: Collection[str] = ()) -> None:
    """Put, read and delete a new name in every bucket that is not sealed.

    One that was never made whole, and could not be taken back, may go now.
    """
    for bucket in store.object_store_names():
        handle = store.object_store(bucket)
        try:
            handle.put(name, name.encode())
        except SealedError:
            continue
        except BucketNotFoundError:
            assert bucket in half_made, f"{bucket} is gone"
            continue
        assert handle.get(name) == name.encode()
        handle.delete(name)

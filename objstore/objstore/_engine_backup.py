"""Operations that only an engine with files of its own carries out: for backups."""

from __future__ import annotations

from dataclasses import dataclass

from objstore._engine import FrozenBucket, FrozenRegistry, Op


@dataclass(frozen=True, slots=True)
class GetDirectory(Op[str | None]):
    """Give the directory that the store is in; `None` when it is in memory."""


@dataclass(frozen=True, slots=True)
class FreezeRegistry(Op[FrozenRegistry]):
    """Hold the registry's log still at its durable end, for a backup."""


@dataclass(frozen=True, slots=True)
class FreezeBucket(Op[FrozenBucket]):
    """Hold a bucket's log still at its durable end; only reclaiming waits.

    Raises `BucketNotFoundError` when that incarnation of it is deleted.
    """

    bucket: str | None
    """`None` for an unclaimed log."""
    number: int
    incarnation: str | None = None


@dataclass(frozen=True, slots=True)
class LeaveGap(Op[None]):
    """Leave so many sequences of a bucket out, so that places there are told."""

    bucket: str
    count: int

"""Repairing what a check found: structure first, then quarantine, older versions last.

Nothing is deleted. What cannot be mended stays named by every later check, until its
name is put again or deleted.
"""

from __future__ import annotations

from typing import NamedTuple

from objstore import _engine as ops
from objstore._engine import Steps, StoredMeta, call
from objstore._expiry import Scope
from objstore._types import Damage, Repair
from objstore.errors import BusyError


class Hit(NamedTuple):
    """A version whose content is damaged."""

    damage: Damage
    stored: StoredMeta


class Repaired(NamedTuple):
    """What a repair did in one log, and what is still damaged."""

    repaired: list[Repair]
    hits: list[Hit]
    found: list[ops.DamageFound]


def damage_of(bucket: str, found: ops.DamageFound) -> Damage:
    """Give an engine's finding as users see it; in the registry names are buckets'."""
    name, reason = found.name, found.reason
    if bucket == ops.REGISTRY:
        bucket, name, reason = name or "", None, f"in the registry: {reason}"
    return Damage(bucket, name, found.sequence, found.segment, found.position, reason)


def repair_of(bucket: str, done: ops.RepairDone) -> Repair:
    """Give what an engine did as users see it."""
    name = done.name
    if bucket == ops.REGISTRY:
        bucket, name = name or "", None
    return Repair(bucket, name, done.sequence, done.action, done.detail, done.path)


def repair_found(
    scope: Scope, hits: list[Hit], found: list[ops.DamageFound], *, dry_run: bool
) -> Steps[Repaired]:
    """Repair what is damaged in one log, or say what that would do."""
    repaired: list[Repair] = []

    def note(done: ops.RepairDone | None) -> None:
        if done is not None:
            repaired.append(repair_of(scope.bucket, done))

    healed = yield from _heal(scope, found, repaired, dry_run=dry_run)
    for hit in hits:
        what = ops.Quarantine(scope.bucket, hit.stored, hit.damage.reason, dry_run)
        note((yield from call(what)))
    for item in found:
        if not item.is_structure:
            what = ops.Quarantine(scope.bucket, item, item.reason, dry_run)
            note((yield from call(what)))
    left: list[Hit] = []
    for hit in hits:
        done = yield from call(ops.Restore(scope.bucket, hit.stored, dry_run))
        note(done)
        if done.action != "restored":
            left.append(hit)
    # what nobody needs is told of until it was saved
    still = [
        item
        for item in found
        if (item.is_structure and item.segment not in healed)
        or (item.is_needed and not item.is_structure)
    ]
    return Repaired(repaired, left, still)


def _heal(
    scope: Scope,
    found: list[ops.DamageFound],
    repaired: list[Repair],
    *,
    dry_run: bool,
) -> Steps[set[int]]:
    """Make headers and footers whole; give the segments where that was done."""
    healed: set[int] = set()
    for segment in sorted({item.segment for item in found if item.is_structure}):
        try:
            done = yield from call(ops.Heal(scope.bucket, segment, dry_run))
        except BusyError:
            # another process's retention is at it; the next repair does it
            continue
        if done is not None:
            healed.add(segment)
            repaired.append(repair_of(scope.bucket, done))
    return healed

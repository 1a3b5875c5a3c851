"""Health of the registry of buckets, log 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from objstore._bucket_health import (
    as_found,
    damage_found,
    differences,
    heal,
    rebuild,
    save_stretch,
    untold,
    would_rebuild,
    would_save_stretch,
)
from objstore._engine import DamageFound, RepairDone, StoredMeta, VerifyPage
from objstore._quarantine import Quarantine
from objstore._registry import Registry
from objstore_log import STRETCH_BYTES, FoundDamage, Kind, ScrubToken


class RegistryHealth:
    """Finds what is damaged in the registry, and repairs it; names are of buckets."""

    def __init__(
        self,
        registry: Registry,
        quarantine: Quarantine,
        log_numbers: Callable[[], list[int]],
    ) -> None:
        self._registry = registry
        self._log_numbers = log_numbers
        self._log = registry.log
        self._quarantine = quarantine

    def scrub(
        self, token: object | None, stretch_bytes: int = STRETCH_BYTES
    ) -> VerifyPage:
        """Check a stretch of the log and name the buckets that its damage hit."""
        assert token is None or isinstance(token, ScrubToken)
        page = self._log.scrub(token, stretch_bytes)
        found = [damage for item in page.damages for damage in self._named(item)]
        return VerifyPage(tuple(found), page.bytes, page.token)

    def damaged(self) -> list[DamageFound]:
        """Name what opening found damaged."""
        found: list[DamageFound] = []
        for item in self._log.damages:
            found += self._named(as_found(item))
        # a log's directory is made behind the record of its bucket, so the order counts
        numbers = self._log_numbers()
        for number in sorted(set(numbers) - self._registry.known_numbers()):
            reason = f"log {number:08x} is of no bucket that it knows"
            found.append(
                DamageFound(
                    None, None, 0, 0, reason, is_structure=True, is_missing=True
                )
            )
        return found

    def _named(self, found: FoundDamage) -> list[DamageFound]:
        return untold(self._quarantine, found, list(self._rows(found)))

    def _rows(self, found: FoundDamage) -> Iterator[DamageFound]:
        header = found.damage.header
        for sequence in found.sequences:
            name = self._registry.name_at(sequence)
            is_needed = name is not None
            if name is None and header is not None and header.kind == Kind.BUCKET:
                name = header.key.decode(errors="replace")
                is_needed = name in self._registry.damaged_names()
            yield damage_found(found, name, sequence, is_needed=is_needed)
        if not found.sequences:
            yield damage_found(found, None, None, is_needed=False)

    def compare_catalog(self) -> list[DamageFound]:
        """Name what the catalog has other than the log says."""
        return differences(self._log)

    def is_catalog_sound(self, pause: Callable[[], bool]) -> bool:
        """Check rows and sums of the catalog alone, slowly."""
        return self._log.is_catalog_sound(pause)

    def repair_catalog(self, *, dry_run: bool) -> list[RepairDone]:
        """Say again what stands in the log only once, then rebuild the catalog."""
        done: list[RepairDone] = []
        says = "would say" if dry_run else "says"
        for name in self._registry.restate_damaged(dry_run=dry_run):
            detail = (
                f"one of the two records of the bucket was damaged; it {says} so anew"
            )
            done.append(RepairDone("salvaged", detail, name))
        if dry_run:
            return [*done, *would_rebuild(self._log, [])]
        return [*done, *rebuild(self._log)]

    def quarantine(
        self,
        what: DamageFound | StoredMeta,
        reason: str,  # noqa: ARG002 - as a bucket's
        *,
        dry_run: bool,
    ) -> RepairDone | None:
        """Save a damaged stretch; `None` when it was saved before."""
        assert isinstance(what, DamageFound)
        if not self._quarantine.is_kept:
            return None
        if dry_run:
            return would_save_stretch(self._quarantine, what)
        return save_stretch(self._log, self._quarantine, what, what.name or "")

    def heal(self, segment: int, *, dry_run: bool) -> RepairDone | None:
        """Make header and footer of a segment whole."""
        return heal(self._log, segment, dry_run=dry_run)

"""Which changes a watcher wants; pure, over subjects and kinds as plain text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Admits changes by kind and by the beginning of their subject."""

    kinds: frozenset[str]
    prefix: str = ""

    def admits(self, kind: str, subject: str | None) -> bool:
        """Say whether a change is wanted; `subject` is `None` for the whole log.

        A change of the whole log has no subject, so only its kind decides.
        """
        if kind not in self.kinds:
            return False
        return subject is None or subject.startswith(self.prefix)

"""What the tests of watches share."""

import pytest

from .changes_engine import ChangesEngine


@pytest.fixture
def engine() -> ChangesEngine:
    """Give an engine whose bucket has no changes yet."""
    return ChangesEngine()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make two changes a page."""
    monkeypatch.setattr("objstore._watch_steps.PAGE_CHANGES", 2)

"""What a repair would do is what it does, and saying so changes nothing."""

from __future__ import annotations

import logging

import pytest

from objstore import Repair, VerifyReport
from objstore_log import Storage

from .crash_world import Images
from .flip_store import (
    Original,
    build,
    flipped,
    make_small_and_repeatable,
    open_flipped,
)

STRIDE = 2_003


@pytest.fixture
def original(monkeypatch: pytest.MonkeyPatch) -> Original:
    """Give a store with every kind of record, as it was before."""
    make_small_and_repeatable(monkeypatch)
    monkeypatch.setattr(logging.getLogger("objstore"), "disabled", True)
    return build()


def files_in(storage: Storage) -> dict[str, bytes]:
    """Give every file that is not empty, as those are that are only locked."""
    found: dict[str, bytes] = {}
    for name in storage.names():
        try:
            file = storage.open(name)
        except IsADirectoryError:
            inner = files_in(storage.directory(name))
            found |= {f"{name}/{other}": data for other, data in inner.items()}
        else:
            found[name] = file.read_at(0, file.size())
    return {name: data for name, data in found.items() if data}


def told(report: VerifyReport) -> list[tuple[object, ...]]:
    """Give what was done or would be, without the words."""
    return [facts(item) for item in report.repaired]


def facts(item: Repair) -> tuple[object, ...]:
    """Give what both say in the same way."""
    return item.action, item.bucket, item.name, item.seq


@pytest.mark.parametrize("has_catalog", [True, False])
def test_repair_does_what_it_said(original: Original, *, has_catalog: bool) -> None:
    """After any flipped byte, with the catalogs and without."""
    actions: set[str] = set()
    images: Images = original.images if has_catalog else {}
    for place, content in original.files.items():
        for position in range(7, len(content), STRIDE):
            storage = flipped(original, place, position, 0xFF)
            store = open_flipped(storage, images)
            found = store.verify()
            before = files_in(storage)
            planned = store.verify(dry_run=True)
            assert files_in(storage) == before, (place, position)
            assert planned.damaged == found.damaged, (place, position)
            done = store.verify(repair=True)
            assert told(planned) == told(done), (place, position)
            assert planned.dry_run != done.dry_run
            assert not any(item.path for item in planned.repaired)
            actions |= {item.action for item in done.repaired}
            store.close()
    assert {"healed", "quarantined"} <= actions
    assert not has_catalog or "salvaged" in actions

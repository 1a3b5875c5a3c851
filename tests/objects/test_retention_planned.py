"""A dry run of retention on a real store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import objstore
from objstore import _bucket_space
from objstore._bucket_log import BucketLog

PAGE = 3
COUNT = 10
TTL_S = 0.05


def test_plan_holds_a_page_of_what_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are due, they are looked at page by page; a run does the same."""
    monkeypatch.setattr(_bucket_space, "_ROWS", PAGE)
    due = BucketLog.due
    pages: list[int] = []

    def noted(bucket: BucketLog, *arguments: Any) -> list[Any]:
        found = due(bucket, *arguments)
        pages.append(len(found))
        return found

    with objstore.open(tmp_path / "store", retention_interval=None) as store:
        bucket = store.create_object_store(
            bucket="b", segment_bytes=4_096, chunk_size=512, changes_ttl=0
        )
        for number in range(COUNT):
            bucket.put(f"{number}", bytes(5_000), ttl=TTL_S)
        bucket.put("kept", bytes(5_000))
        time.sleep(TTL_S)
        with monkeypatch.context() as patched:
            patched.setattr(BucketLog, "due", noted)
            planned = store.run_retention(dry_run=True)
        done = store.run_retention()

    assert (max(pages), sum(pages)) == (PAGE, COUNT)
    assert planned.expired == done.expired == COUNT
    assert planned.bytes_reclaimed == done.bytes_reclaimed > 0

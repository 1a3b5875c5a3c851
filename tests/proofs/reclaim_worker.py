"""Programs that `test_reads_beside_reclaim` runs on one store at the same time.

Each goes on until there is a file `stop` beside the store, then tells as JSON how
often it went round and what failed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import objstore
from objstore.blocking import ObjectStore, Store

SIZES = {"x": 200_000, "y": 3_000_000}
FAILURES_MAX = 3


def put(bucket: ObjectStore, name: str) -> None:
    """Put what tells by itself whether it is whole: a seed, over and over."""
    bucket.put(name, os.urandom(20) * (SIZES[name] // 20))


def check(name: str, data: bytes) -> None:
    """Refuse what is of two versions or none."""
    if len(data) != SIZES[name] or data != data[:20] * (len(data) // 20):
        message = f"{name} is mixed: {hashlib.sha256(data).hexdigest()}"
        raise ValueError(message)


def replace(store: Store, bucket: ObjectStore) -> None:
    """Overwrite everything, then give it back."""
    for name in SIZES:
        put(bucket, name)
    store.run_retention()


def get(_: Store, bucket: ObjectStore) -> None:
    """Read whole, with and without a reader."""
    for name in SIZES:
        check(name, bucket.get(name))
        with bucket.open_reader(name) as reader:
            check(name, reader.read())


def get_range(_: Store, bucket: ObjectStore) -> None:
    """Read in part."""
    for name, size in SIZES.items():
        bucket.get_info(name)
        start = size // 2
        data = bucket.get_range(name, start=start, length=5_000)
        if data != data[:20] * (len(data) // 20):
            message = f"{name} is mixed"
            raise ValueError(message)


def look(_: Store, bucket: ObjectStore) -> None:
    """List, count, verify."""
    names = [info.name for info in bucket.list()]
    if names != sorted(SIZES):
        message = f"listed {names}"
        raise ValueError(message)
    bucket.status()
    report = bucket.verify()
    if not report.ok:
        message = f"verify: {report.damaged}"
        raise ValueError(message)


def main(place: str, program: str) -> None:
    """Go round until the end."""
    programs: dict[str, Callable[[Store, ObjectStore], None]] = {
        step.__name__: step for step in (replace, get, get_range, look)
    }
    step = programs[program]
    rounds, failures = 0, list[str]()
    with objstore.open(place, retention_interval=None) as store:
        bucket = store.object_store("b")
        for name in SIZES:
            put(bucket, name)
        # one round at least, however busy the machine is
        while not rounds or not Path(place).with_name("stop").exists():
            rounds += 1
            try:
                step(store, bucket)
            except Exception:  # noqa: BLE001 - whatever it is, it is told
                failures.append(traceback.format_exc())
            if len(failures) == FAILURES_MAX:
                break
    sys.stdout.write(json.dumps((rounds, failures)))


if __name__ == "__main__":
    main(*sys.argv[1:])

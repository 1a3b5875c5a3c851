"""Writes the golden stores: `python tests/golden/make_golden.py [DIRECTORY]`.

Clock and entropy are fixed, so that the bytes are the same every time. The stores are
committed; a test reads them with the current code and with an independent reader. They
are written anew only together with a new format version.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from random import Random

from objstore import ObjectMeta
from objstore._embedded import EmbeddedEngine
from objstore._handles import Session
from objstore._open_stores import open_on_storage
from objstore.blocking import Store
from objstore_log import Environment, FileStorage

START_NS = 1_790_000_000_000_000_000
STEP_NS = 1_000_000
SEED = 20


def fixed_environment() -> Environment:
    """Give a clock that ticks by itself and entropy from a seed."""
    random = Random(SEED)
    ticks = iter(range(START_NS, START_NS + 10**15, STEP_NS))
    return Environment(lambda: next(ticks), lambda: 0.0, random.randbytes)


def content(size: int, seed: int) -> bytes:
    """Give reproducible content that does not compress."""
    return Random(seed).randbytes(size)


def fill(store: Store) -> dict[str, dict[str, str]]:
    """Use every kind of record that this version writes; gives the expected content."""
    small = store.create_object_store(
        "small", description="one segment", segment_bytes=1 << 20, chunk_size=1_000
    )
    small.put("empty", b"")
    small.put("hello.txt", b"hello", description="a greeting", headers={"X-A": "1"})
    small.put("chunks", content(4_321, 1))
    small.put("overwritten", content(900, 2))
    small.put("overwritten", content(1_800, 3), filename="o.bin")
    small.put("deleted", content(500, 4))
    small.delete("deleted")
    small.copy("chunks", "copy")
    small.rename("hello.txt", "renamed/ü 你好.txt")
    small.update_meta("copy", ObjectMeta(description="shares its chunks"))
    small.add_link("link", "chunks")
    small.put("expiring", b"soon", ttl=3_600)

    rolling = store.create_object_store(
        "rolling", segment_bytes=8_192, chunk_size=2_048
    )
    for number in range(12):
        rolling.put(f"object-{number % 5}", content(3_000 + number, 100 + number))
    rolling.seal()

    store.create_object_store("gone").put("x", b"y")
    store.delete_object_store("gone")
    return {
        bucket: {
            info.name: hashlib.sha256(handle.get(info.name)).hexdigest()
            for info in handle.list()
            if info.link is None
        }
        for bucket in ("small", "rolling")
        for handle in [store.object_store(bucket)]
    }


def make(directory: Path) -> None:
    """Write a golden store and beside it what it must hold."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    environment = fixed_environment()
    store = Store(
        Session(
            EmbeddedEngine(open_on_storage(FileStorage(str(directory)), environment))
        )
    )
    expected = fill(store)
    store.close()
    for cache in directory.rglob("catalog.sqlite*"):
        cache.unlink()
    for lock in [*directory.rglob("lock"), *directory.rglob("*.lock")]:
        lock.unlink()
    text = json.dumps(expected, indent=1, ensure_ascii=False, sort_keys=True)
    directory.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    target = sys.argv[1] if len(sys.argv) > 1 else "tests/golden/v1"
    make(Path(target))

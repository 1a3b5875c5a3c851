"""The steps of the demo; each one checks what it has done."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from objstore import BadObjectMetaError, ObjectInfo
from objstore.blocking import ObjectStore, Store
from objstore.cli._context import number
from objstore.cli._demo_processes import Killed, Watcher
from objstore.cli._demo_tree import File, Ledger, disk_bytes
from objstore.cli._demo_writer import content_of
from objstore.cli._failures import INTERRUPTED
from objstore.cli._progress import behind, progress
from objstore.cli._values import size_text

SLAB_BYTES: Final = 4 * 1024 * 1024
PARTS: Final = 10
"""One of so many objects is overwritten, one renamed, one linked to, one deleted."""
MORE_PUTS: Final = 50


@dataclass(frozen=True, slots=True)
class Check:
    """Something that has to hold."""

    name: str
    ok: bool
    detail: str


@dataclass(slots=True)
class Result:
    """What the demo has done, measured and checked so far."""

    tell: Callable[[Check], object]
    ledger: Ledger = field(default_factory=Ledger)
    checks: list[Check] = field(default_factory=list[Check])
    figures: dict[str, float] = field(default_factory=dict[str, float])

    def check(self, name: str, ok: object, detail: str) -> None:
        """Note whether something holds, and tell it."""
        self.checks.append(Check(name, bool(ok), detail))
        self.tell(self.checks[-1])

    def acknowledged(self, info: ObjectInfo) -> None:
        """Enter a change into the ledger."""
        self.ledger.changes.append((info.seq, info.name))
        if info.link is None:
            self.ledger.contents[info.name] = info.digest.removeprefix("SHA-256=")
        elif info.link.name is not None:
            self.ledger.links[info.name] = info.link.name


def _rate(size: int, seconds: float) -> float:
    """Give megabytes (of a million bytes) a second."""
    return round(size / 1e6 / max(seconds, 1e-9), 1)


def put_all(result: Result, bucket: ObjectStore, files: list[File]) -> None:
    """Put every file, each one durable before the next one."""
    total = sum(file.size for file in files)
    done = left_out = 0
    start_s = time.perf_counter()
    with progress("put") as tell:
        for file in files:
            try:
                info = bucket.upload(
                    file.name, file.path, progress=behind(tell, done, total)
                )
            except BadObjectMetaError:
                # Some file names are no object names.
                left_out += 1
                continue
            result.acknowledged(info)
            done += info.size
    seconds = time.perf_counter() - start_s
    count = len(files) - left_out
    rate = _rate(done, seconds)
    result.figures |= {"objects": count, "bytes": done, "mb_per_s_in": rate}
    out = f"; left out {number(left_out, 'name')}" if left_out else ""
    result.check(
        "put",
        count == len(result.ledger.contents),
        f"{number(count, 'object')}, {size_text(done)} in {seconds:.1f} s, each one "
        f"synced: {rate} MB/s in{out}",
    )


def list_all(result: Result, bucket: ObjectStore) -> None:
    """List by name and by directory, and compare with what was acknowledged."""
    names = [info.name for info in bucket.iterate()]
    top = bucket.list_directory()
    result.check(
        "list",
        names == result.ledger.names(),
        f"{number(len(names), 'name')}, {len(top.prefixes)} directories and "
        f"{len(top.objects)} objects at the top, as acknowledged",
    )


def read_all(result: Result, bucket: ObjectStore, files: Iterable[File]) -> None:
    """Read everything back; compare with the digests, and with unchanged files."""
    originals = {file.name: file for file in files}
    wrong: list[str] = []
    size, seconds = 0, 0.0
    names = result.ledger.names()
    sizes = {info.name: info.size for info in bucket.iterate()}
    links = result.ledger.links
    total = sum(sizes.get(links.get(name, name), 0) for name in names)
    with progress("read back") as tell:
        for name in names:
            start_s = time.perf_counter()
            digest, length = _read(bucket, name)
            seconds += time.perf_counter() - start_s
            size += length
            if tell is not None:
                tell(size, total)
            original = originals.get(name)
            is_same = original is None or (
                not original.is_unchanged() or original.digest() == digest
            )
            if not is_same or digest != result.ledger.digest_behind(name):
                wrong.append(name)
    rate = _rate(size, seconds)
    result.figures["mb_per_s_out"] = rate
    against = " and compared with the files" if originals else ""
    result.check(
        "read back",
        not wrong,
        f"{number(len(names), 'name')}, {size_text(size)}, every digest verified"
        f"{against}: {rate} MB/s out" + (f"; WRONG: {wrong[:5]}" if wrong else ""),
    )


def _read(bucket: ObjectStore, name: str) -> tuple[str, int]:
    """Read an object as its reader gives it; give the SHA-256 in hex, and the size."""
    digest, size = hashlib.sha256(), 0
    with bucket.open_reader(name) as reader:
        while slab := reader.read(SLAB_BYTES):
            digest.update(slab)
            size += len(slab)
    return digest.hexdigest(), size


def change_some(result: Result, bucket: ObjectStore) -> None:
    """Overwrite, rename, link and delete a part of the objects each."""
    ledger = result.ledger
    # Shuffled, and the same in every run on the same tree.
    order = sorted(
        ledger.contents, key=lambda name: hashlib.sha256(name.encode()).digest()
    )
    count = max(len(order) // PARTS, 1)
    parts = [order[start * count : (start + 1) * count] for start in range(4)]
    overwritten, renamed, linked, deleted = parts
    for name in overwritten:
        result.acknowledged(bucket.put(name, f"overwritten: {name}\n" * 50))
    for name in renamed:
        del ledger.contents[name]
        result.acknowledged(bucket.rename(name, f"renamed/{name}"))
    for name in linked:
        result.acknowledged(bucket.add_link(f"links/{name}", name))
    for name in deleted:
        bucket.delete(name)
        del ledger.contents[name]
    gone = [*renamed, *deleted]
    result.check(
        "change",
        not any(bucket.exists(name) for name in gone),
        f"{len(overwritten)} overwritten, {len(renamed)} renamed, "
        f"{len(linked)} linked, {len(deleted)} deleted",
    )


def check_killed(result: Result, bucket: ObjectStore, killed: Killed) -> None:
    """Look for every put that the killed writer had acknowledged."""
    missing: list[str] = []
    for name, sequence, digest in killed.acknowledged:
        result.ledger.contents[name] = digest
        result.ledger.changes.append((sequence, name))
        if not bucket.exists(name) or _read(bucket, name)[0] != digest:
            missing.append(name)
    count = len(killed.acknowledged)
    result.figures |= {"acknowledged_before_kill": count, "missing": len(missing)}
    result.check(
        "kill -9",
        count and not missing and not bucket.exists(killed.unfinished),
        f"a writer in the middle of a put: of {count} acknowledged puts "
        f"{len(missing)} are missing, the unfinished one is invisible",
    )


def carry_on(result: Result, bucket: ObjectStore, killed: Killed) -> None:
    """Go on writing, with the object that was not finished first."""
    names = [killed.unfinished, *(f"more/{index:04}" for index in range(MORE_PUTS))]
    for name in names:
        result.acknowledged(bucket.put(name, content_of(name, 10_000)))
    status = bucket.status()
    result.check(
        "carry on",
        status.count == len(result.ledger.names()),
        f"{len(names)} more puts after reopening, {status.count} objects and links",
    )


def compare_watcher(result: Result, bucket: ObjectStore, watcher: Watcher) -> None:
    """Compare what the other process saw with what the log has."""
    committed: list[tuple[int, str, str]] = []
    with bucket.watch(start="all") as changes:
        while (change := changes.updates(timeout=None)) is not None:
            committed.append((change.seq, change.kind, change.name))
    watcher.wait_for(len(committed))
    status = watcher.interrupt()
    told = {(sequence, name) for sequence, _, name in watcher.seen}
    unseen = [change for change in result.ledger.changes if change not in told]
    result.figures |= {
        "changes_committed": len(committed),
        "changes_seen": len(watcher.seen),
    }
    result.check(
        "watch",
        watcher.seen == committed and not unseen and status == INTERRUPTED,
        f"another process saw {len(watcher.seen)} changes, the log has "
        f"{len(committed)}, {len(unseen)} acknowledged ones were not seen",
    )


def retain(result: Result, store: Store, directory: Path) -> None:
    """Give dead bytes back, and measure what the directory occupies."""
    before = disk_bytes(directory)
    report = store.run_retention()
    after = disk_bytes(directory)
    result.figures |= {"disk_before": before, "disk_after": after}
    result.check(
        "retention",
        after <= before,
        f"{size_text(before)} on disk before, {size_text(after)} after; "
        f"{size_text(report.bytes_reclaimed)} given back",
    )


def verify(result: Result, store: Store) -> None:
    """Check every record and every object."""
    with progress("verify") as tell:
        report = store.verify(progress=tell)
    result.check(
        "verify",
        report.ok and report.objects == len(result.ledger.names()),
        f"{number(report.objects, 'object')}, {size_text(report.bytes)} read, "
        f"{len(report.damaged)} damaged",
    )

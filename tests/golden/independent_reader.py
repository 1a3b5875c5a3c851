"""Read a store from its files alone, written from format.md and nothing else."""

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from xxhash import xxh3_64_intdigest as checksum

CHUNK, META, COMMIT, FOOTER, BUCKET, LAST_KIND = 1, 2, 3, 4, 6, 15
START = 256  # the first batch stands behind two copies of the segment's header
HEADER_MAGIC = b"OBJSEG\r\n\1\0\1"  # with the version and the algorithm
RECORD = struct.Struct("<8sBBBxHxxI4xIIQ8x16sQQQ")
STATED = struct.Struct("<8xI4xQQ8xQ8x")


class Record(NamedTuple):
    """A record whose header is valid; ``ok`` says whether its body is, too."""

    pos: int
    stop: int
    kind: int
    flags: int
    codec: int
    chunk: int
    place: int
    seq: int
    nuid: bytes
    head_sum: int
    key: bytes
    body: bytes
    ok: bool


@dataclass
class Log:
    """The records of a log that count, by sequence, and what is wrong in it."""

    log_id: bytes = b""
    records: dict[int, Record] = field(default_factory=dict[int, Record])
    faults: dict[str, Record | None] = field(default_factory=dict[str, "Record | None"])

    def newest(self, kind: int) -> dict[str, Record]:
        """Return the newest record of each key, unless the log is to be refused."""
        ordered = [record for _, record in sorted(self.records.items())]
        unknown = any(r.kind > LAST_KIND and r.flags & 0x80 for r in ordered)
        if unknown or any(r.kind == kind and r.codec for r in ordered):
            raise ValueError("the log needs a kind or a codec that is not known here")
        return {r.key.decode(): r for r in ordered if r.kind == kind}

    def live(self) -> dict[str, tuple[bytes, list[int], str]]:
        """Return nuid, sequences of the chunks and digest of each live object."""
        found = dict[str, tuple[bytes, list[int], str]]()
        for name, meta in self.newest(META).items():
            end = 64 + 24 * int.from_bytes(meta.body[4:8], "little")
            runs = struct.iter_unpack("<QI12x", meta.body[64:end])
            chunks = [first + i for first, count in runs for i in range(count)]
            document = json.loads(meta.body[end:])
            if meta.body[0] in b"\1\2" and "link" not in document.get("options", {}):
                found[name] = meta.nuid, chunks, document.get("digest", "")
        return found

    def read(self, nuid: bytes, chunks: list[int], digest: str) -> bytes:
        """Return the content of an object after its chunks and digest were verified."""
        found = [self.records[seq] for seq in chunks if seq in self.records]
        whose = [(r.kind, r.codec, r.nuid, r.chunk) for r in found]
        ours = whose == [(CHUNK, 0, nuid, index) for index in range(len(chunks))]
        actual = hashlib.sha256(content := b"".join(r.body for r in found)).digest()
        if not ours or digest != f"SHA-256={base64.urlsafe_b64encode(actual).decode()}":
            raise ValueError(f"the content of {nuid.hex()} is damaged or encoded")
        return content

    def add(self, path: Path, marker: bytes, usable: int, durable: int) -> None:
        """Take the records of a segment that count, and name what does not."""
        data, where = path.read_bytes(), f"{path.parent.name}/{path.name}"
        found = list(scan(data, marker, START, min(usable or len(data), len(data))))
        points = [STATED.unpack(r.body)[3] for r in found if r.ok and r.kind == COMMIT]
        floor = usable or max(START, durable, *points)
        good, seen, known, batch, kept = START, START, True, found[:0], found[:0]
        for record in found:
            above, bad = record.pos >= floor, not record.ok
            if record.pos > seen >= floor or (above and (bad or record.kind == FOOTER)):
                break
            if record.pos > seen:
                self.faults[f"{where}: corrupt [{seen}, {record.pos})"] = None
                kept, batch, known = kept + batch, [], record.place == 0
                good = record.pos
            if bad:
                self.faults[f"{where}: corrupt [{record.pos}, {record.stop})"] = record
            known, seen = known and (record.ok or record.kind == CHUNK), record.stop
            if record.kind != COMMIT:
                batch.append(record)
                continue
            if not (agreed := whole(batch, record, good)) and above:
                break
            if known and not agreed:
                self.faults[f"{where}: corrupt batch [{good}, {seen})"] = None
            good, known, kept, batch = seen, True, kept + batch, []
        kept += [record for record in batch if record.pos < floor]
        self.records.update({r.seq: r for r in kept if r.ok and r.kind != FOOTER})
        if seen < floor:
            self.faults[f"{where}: corrupt [{seen}, {floor})"] = None
        if (good := max(good, floor)) < len(data) and find_footer(data)[0] != good:
            self.faults[f"{where}: {'void' if usable else 'torn'} from {good}"] = None


def copies(data: bytes, size: int, magic: bytes) -> list[bytes]:
    """Return the first two blocks of a size, empty where one does not hold."""
    both = [data[:size], data[size : 2 * size]]
    holds = [checksum(r[:-8]).to_bytes(8, "little") == r[-8:] for r in both]
    return [r * (ok and r.startswith(magic)) for r, ok in zip(both, holds, strict=True)]


def find_footer(data: bytes) -> tuple[int, bytes]:
    """Return position and body of a footer that holds, or -1 and nothing."""
    raw = copies(data[-56:], 56, b"OBJFOOT\n")[0] or bytes(56)
    position, start, length, body_sum = struct.unpack("<8xQQQQ16x", raw)
    body = data[start : start + length]
    head = copies(data[position : position + RECORD.size], RECORD.size, b"")[0]
    return (position, body) if head and checksum(body) == body_sum else (-1, b"")


def scan(data: bytes, marker: bytes, pos: int, end: int) -> Iterator[Record]:
    """Yield what has a valid header; behind a gap go on at the next such place."""
    while 0 <= pos <= end - RECORD.size:
        mark, kind, *rest = RECORD.unpack_from(data, pos)
        flags, codec, key_size, size, chunk, place, seq, nuid, own, *sums = rest
        stop = (body_at := pos + RECORD.size + key_size) + size
        key, body = data[pos + RECORD.size : body_at], data[body_at:stop]
        placed = mark == marker and own == pos and kind != 0 and stop <= end
        fits = key_size <= 1024 and size <= (64 if kind == FOOTER else 16) << 20
        if placed and fits and checksum(data[pos : pos + 80] + key) == sums[1]:
            who = (pos, stop, kind, flags, codec, chunk, place, seq, nuid, sums[1])
            yield Record(*who, key, body, checksum(body) == sums[0])
            pos = stop
        else:
            pos = data.find(marker, pos + 1, end)


def whole(batch: list[Record], commit: Record, start: int) -> bool:
    """Tell whether a commit is valid and states these records."""
    sums = checksum(b"".join(r.head_sum.to_bytes(8, "little") for r in batch))
    ordered = [r.place for r in (*batch, commit)] == list(range(len(batch) + 1))
    stated = STATED.unpack(commit.body)[:3] if commit.ok else ()
    return ordered and stated == (len(batch), commit.pos - start, sums)


def read_log(directory: Path) -> Log:
    """Read the segments of a log, each after the successor that states its length."""
    log, usable, hint = Log(), dict[int, int](), directory / "head"
    slots = copies(hint.read_bytes() if hint.exists() else b"", 128, b"OBJHEAD\n")
    heads = [struct.unpack("<8x16sQQ16xQ16x8s40x", s or bytes(128)) for s in slots]
    head_id, _, active, durable, head_marker = max(heads, key=lambda head: head[1])
    for path in (paths := sorted(directory.glob("????????-*.seg"), reverse=True)):
        number, data = int(path.name[:8], 16), path.read_bytes()
        where, footer = f"{directory.name}/{path.name}", find_footer(data)
        two = copies(data, 128, HEADER_MAGIC)
        log.faults |= {f"{where}: corrupt copy {i}": None for i in (0, 1) if not two[i]}
        if raw := two[0] or two[1] or copies(footer[1], 128, HEADER_MAGIC)[0]:
            fields = struct.unpack("<16x16s16x8s8xQQ48x", raw)
            log.log_id, marker, previous, usable[previous] = fields
        elif number == active:
            log.log_id, marker = head_id, head_marker
        else:
            log.faults[f"{where}: corrupt [0, {len(data)})"] = None
            continue
        usable.setdefault(number, 0 if path == paths[0] else max(0, footer[0]))
        told = durable if (active, head_marker) == (number, marker) else 0
        log.add(path, marker, usable[number], told)
    return log


def read_store(directory: Path) -> dict[str, dict[str, bytes]]:
    """Return the content of every live object that is no link, by bucket and name."""
    if not any(copies((directory / "STORE").read_bytes(), 64, b"OBJSTORE\1\0")):
        raise ValueError("no STORE of version 1")
    registry, *logs = map(read_log, sorted((directory / "logs").glob("????????")))
    by_id, buckets = {log.log_id: log for log in logs}, dict[str, dict[str, bytes]]()
    for bucket, record in registry.newest(BUCKET).items():
        document = json.loads(record.body)
        if not document.get("deleted"):
            log = by_id[bytes.fromhex(document["log_id"])]
            buckets[bucket] = {name: log.read(*o) for name, o in log.live().items()}
    return buckets


def damage(directory: Path) -> list[str]:
    """Name every invalid stretch, but not the holes where dead chunks were."""
    store = copies((directory / "STORE").read_bytes(), 64, b"OBJSTORE\1\0")
    named = [f"STORE: corrupt copy {at}" for at in (0, 1) if not store[at]]
    for log in map(read_log, sorted((directory / "logs").glob("????????"))):
        used = {seq for _, chunks, _ in log.live().values() for seq in chunks}
        for text, r in log.faults.items():
            if not r or r.kind != CHUNK or any(r.body) or r.seq in used:
                named.append(text)
    return sorted(named)

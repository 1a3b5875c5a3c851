"""Programs that `test_large` runs as processes of their own, to weigh them alone.

The first argument says which; what they measured is the last line they print, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import anyio

import objstore
from objstore import ObjectInfo, blocking

OBJECTS = 1_000_000
PARTS = 10
STRIDE = 7_919
"""Coprime to the number of objects: names come in no order, each of them once."""
NAME = "large.bin"
PAGE_NAMES = 1_000


def say(**facts: object) -> None:
    """Tell the test."""
    sys.stdout.write(f"{json.dumps(facts)}\n")


def memory_bytes(field: str) -> int:
    """Give a figure of this process, such as `VmRSS` now or `VmHWM` at most."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1_024


# --- one large object -----------------------------------------------------------------


def _say_peak(before: int, began_s: float, info: ObjectInfo) -> None:
    say(
        more=memory_bytes("VmHWM") - before,
        seconds=time.monotonic() - began_s,
        size=info.size,
        digest=info.digest,
    )


def file_in(place: str, path: str) -> None:
    """Put a file with the synchronous API."""
    with objstore.open(place) as store:
        bucket = store.object_store("b", create=True)
        bucket.put("small", b"one")
        before, began_s = memory_bytes("VmRSS"), time.monotonic()
        info = bucket.upload(NAME, path)
        _say_peak(before, began_s, info)


def file_out(place: str, path: str) -> None:
    """Get a file with the synchronous API."""
    with objstore.open(place) as store:
        bucket = store.object_store("b")
        bucket.get("small")
        before, began_s = memory_bytes("VmRSS"), time.monotonic()
        info = bucket.download(NAME, path)
        _say_peak(before, began_s, info)


def async_file_in(place: str, path: str) -> None:
    """Put a file with the asynchronous API."""

    async def run() -> None:
        async with objstore.connect(place) as store:
            bucket = await store.object_store("b", create=True)
            await bucket.put("small", b"one")
            before, began_s = memory_bytes("VmRSS"), time.monotonic()
            info = await bucket.upload(NAME, path)
            _say_peak(before, began_s, info)

    anyio.run(run)


def async_file_out(place: str, path: str) -> None:
    """Get a file with the asynchronous API."""

    async def run() -> None:
        async with objstore.connect(place) as store:
            bucket = await store.object_store("b")
            await bucket.get("small")
            before, began_s = memory_bytes("VmRSS"), time.monotonic()
            info = await bucket.download(NAME, path)
            _say_peak(before, began_s, info)

    anyio.run(run)


# --- many small objects ---------------------------------------------------------------


def name_of(number: int) -> str:
    """Give the name of the object that is put at this place in the row."""
    return f"{number * STRIDE % OBJECTS:07d}"


def content_of(name: str) -> bytes:
    """Give the 100 bytes of an object."""
    return name.encode().rjust(100, b".")


def put_many(place: str) -> None:
    """Put a million objects of 100 bytes; tell the rate of each tenth.

    Rates are by the processor's time of all threads: what others do on the machine
    does not count.
    """
    part = OBJECTS // PARTS
    rates: list[float] = []
    with objstore.open(place, sync="never") as store:
        bucket = store.create_object_store("b")
        for start in range(0, OBJECTS, part):
            began_s = time.process_time()
            for number in range(start, start + part):
                name = name_of(number)
                bucket.put(name, content_of(name))
            rates.append(part / (time.process_time() - began_s))
    say(rates=rates, peak=memory_bytes("VmHWM"))


def open_many(place: str) -> None:
    """Open the million, get one, then list them all in pages."""
    before, began_s = memory_bytes("VmRSS"), time.process_time()
    with objstore.open(place) as store:
        bucket = store.object_store("b")
        assert content_of("0123456") == bucket.get("0123456")
        opened_s = time.process_time() - began_s
        more = memory_bytes("VmHWM") - before
        count = bucket.status().count
        began_s = time.monotonic()
        pages_s = _list_all(bucket)
        say(
            opened_s=opened_s,
            more=more,
            count=count,
            listed_s=time.monotonic() - began_s,
            median_page_s=sorted(pages_s)[len(pages_s) // 2],
            peak=memory_bytes("VmHWM"),
        )


def _list_all(bucket: blocking.ObjectStore) -> list[float]:
    """Check every page of the listing; give how long each took."""
    pages_s: list[float] = []
    after: str | None = None
    for start in range(0, OBJECTS, PAGE_NAMES):
        began_s = time.monotonic()
        page = bucket.list(start_after=after, limit=PAGE_NAMES)
        pages_s.append(time.monotonic() - began_s)
        expected = [f"{number:07d}" for number in range(start, start + PAGE_NAMES)]
        assert expected == [info.name for info in page]
        assert {100} == {info.size for info in page}
        after = page[-1].name
    assert [] == bucket.list(start_after=after, limit=PAGE_NAMES)
    return pages_s


if __name__ == "__main__":
    {
        program.__name__: program
        for program in (
            file_in,
            file_out,
            async_file_in,
            async_file_out,
            put_many,
            open_many,
        )
    }[sys.argv[1]](*sys.argv[2:])

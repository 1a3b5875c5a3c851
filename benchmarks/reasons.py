"""Why a row of the cost table misses its aim: what was profiled, which limit it is.

By the work of the row, as `table` names it. A row that meets its aim needs none; the
report says of every other one that nobody has looked yet.
"""

from __future__ import annotations

_TWO_RECORDS = (
    "128 KiB that begin anywhere lie in two chunks, and both are read and checked "
    "whole, as promise 3 has it: reading both records into one buffer takes 21 us "
    "where a pread of 128 KiB takes 14, their two checksums 6, and joining the bytes "
    "3. With what Python adds between them (36 us without a line of this library) "
    "0.39 of a pread is the limit; this library adds 10 us. At chunks it is 0.5."
)
_FRESH_PAGES = (
    "The page cache takes pages that this virtual machine had given back to its host, "
    "and each costs about 9 us of processor time: writing a new plain file of 64 MiB "
    "took 150 to 185 ms of it, where SHA-256 takes 59 ms and writing into pages that "
    "were freed a moment before 17 ms. Of 240 ms a put, pwritev takes 155, SHA-256 "
    "59 (in a thread beside it), all of Python 45. Tried: slabs of 512 KiB to 4 MiB "
    "and more slabs ahead, without a change beyond the noise. Not tried yet: appending "
    "in one thread and syncing beside the next write. Not "
    "taken: dropping what was written from the page cache, which makes the next get "
    "wait for the disk."
)
_LARGE_PUTS = [
    f"put {size} MiB, objstore {way}" for size in (16, 256) for way in ("sync", "async")
]
_RANGES = [
    f"read 128 KiB of 256 MiB, at random, warm, objstore {way}"
    for way in ("sync", "async")
]
REASONS: dict[str, str] = {
    **dict.fromkeys(_LARGE_PUTS, _FRESH_PAGES),
    **dict.fromkeys(_RANGES, _TWO_RECORDS),
}

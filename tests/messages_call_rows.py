"""Calls that must fail, for the table of `test_messages`: contents, reads, watches."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.messages_rows import Given, Row, row

import objstore
from objstore import BadObjectMetaError
from objstore.blocking import ObjectStore


def source_row(case: str, data: Any, *fragments: str) -> Row:
    """Give a row for content that is none, or for what makes it."""

    def put(bucket: ObjectStore) -> None:
        content: Any = data() if callable(data) else data
        bucket.put("a", content)

    return row(
        f"content: {case}",
        put,
        BadObjectMetaError,
        "data",
        *fragments,
    )


def range_row(case: str, arguments: Mapping[str, Any], *fragments: str) -> Row:
    """Give a row for a range of the object `a`."""
    return row(
        f"range: {case}",
        lambda b: b.get_range("a", **arguments),
        objstore.InvalidRangeError,
        "of object 'a' in bucket 'b'",
        "give a start of at most 5 and an end that is not below it",
        *fragments,
    )


def watch_row(case: str, arguments: Mapping[str, Any], *fragments: str) -> Row:
    """Give a row for an option of a watch."""
    return row(
        f"watch: {case}",
        lambda b: b.watch(**arguments),
        objstore.BadWatchError,
        *fragments,
    )


# --- content ----------------------------------------------------------------------


def _text_behind_bytes() -> Iterator[Any]:
    yield bytes(3_000_000)
    yield "text"


def _broken() -> Iterator[bytes]:
    yield bytes(3_000_000)
    raise ZeroDivisionError("the sensor is gone")


def _interrupted() -> Iterator[bytes]:
    yield bytes(3_000_000)
    raise KeyboardInterrupt


def put_shrinking(given: Given, *, as_file: bool) -> None:
    """Put a file of 6,000,000 bytes that is cut while it is read."""
    path = given.folder / "shrinking"
    path.write_bytes(bytes(6_000_000))

    def cut(done: int, _total: int | None) -> None:
        with path.open("r+b") as file:
            file.truncate(done)

    if not as_file:
        given.bucket.put("a", path, progress=cut)
        return
    with path.open("rb", buffering=0) as file:
        given.bucket.put("a", file, progress=cut)


CONTENT_ROWS = [
    source_row("a number", 7, "7 is no content", "give bytes, a str, a pathlib.Path"),
    source_row("a number of bytes", [7], "7 came as a piece", "has to be bytes"),
    source_row("a mapping", {"a": 1}, "{'a': 1} is no content", "give bytes, a str"),
    source_row("a set", {b"a"}, "{b'a'} is no content", "give bytes, a str"),
    source_row("nothing", None, "None is no content", "give bytes, a str"),
    source_row(
        "text pieces", _text_behind_bytes, "'text' came as a piece", "text.encode()"
    ),
    source_row(
        "a text file", lambda: io.StringIO("text"), "'text'", "open the file in binary"
    ),
    source_row(
        "a surrogate",
        "a\ud83d",
        r"'a\ud83d' has a surrogate at index 1",
        "give text that UTF-8 can hold",
    ),
    row(
        "content: raises in the middle",
        lambda b: b.put("a", _broken()),
        ZeroDivisionError,
        "the sensor is gone",
    ),
    row(
        "content: is interrupted in the middle",
        lambda b: b.put("a", _interrupted()),
        KeyboardInterrupt,
    ),
    Row(
        "content: a path is shorter than promised",
        partial(put_shrinking, as_file=False),
        objstore.StorageError,
        ("shrinking: it ended after", "of 6000000 bytes", "then try again"),
    ),
    Row(
        "content: a file is shorter than promised",
        partial(put_shrinking, as_file=True),
        objstore.StorageError,
        ("shrinking: it ended after", "of 6000000 bytes", "then try again"),
    ),
    row(
        "content: max_bytes in the middle of a put",
        lambda b: b.put("a", [bytes(1_000_000)] * 9),
        objstore.LimitExceededError,
        "bucket 'b' holds 5 bytes",
        "max_bytes of 2000000",
        "nothing was changed, delete objects or raise max_bytes",
        max_bytes=2_000_000,
    ),
    row(
        "content: into a sealed bucket",
        lambda b: b.seal() and b.put("n", b""),
        objstore.SealedError,
        "bucket 'b' is sealed",
        "write to another bucket",
    ),
]

# --- reading, listing, following ----------------------------------------------------


def foreign_cursor(given: Given) -> None:
    """Resume a watch with the cursor of another bucket."""
    with given.store.create_object_store("c").watch() as watch:
        cursor = watch.cursor
    given.store.delete_object_store("c")
    next(given.bucket.watch(after=cursor))


READ_ROWS = [
    range_row(
        "behind the end", {"start": 6}, "from 6 to the end", "beyond the", "5 by"
    ),
    range_row(
        "reversed", {"start": 3, "end": 2}, "from 3 to 2", "ends before it start"
    ),
    range_row("negative length", {"start": 3, "length": -2}, "from 3 to 1", "ends be"),
    range_row("negative end", {"end": -1}, "from 0 to -1", "ends before it starts"),
    row(
        "get of a missing object",
        lambda b: b.get("missing"),
        objstore.ObjectNotFoundError,
        "no object 'missing' in bucket 'b'",
        "put it, or list()",
    ),
    row(
        "get into a small buffer",
        lambda b: b.get_into("a", bytearray(4)),
        ValueError,
        "the buffer has 4 bytes and object 'a' has 5; give a larger one",
    ),
    row(
        "a listing below nothing",
        lambda b: b.list(limit=-1),
        BadObjectMetaError,
        "limit -1 is negative",
        "give 0 or more",
    ),
    row(
        "a prefix with a surrogate",
        lambda b: b.list("a\ud83d"),
        BadObjectMetaError,
        r"prefix 'a\ud83d' has the surrogate U+D83D at index 1",
        "UTF-8",
    ),
    row(
        "a link to itself",
        lambda b: b.add_link("l", "l"),
        BadObjectMetaError,
        "link 'b/l' points to itself",
        "point it to another name",
    ),
    row(
        "a link over an object",
        lambda b: b.add_bucket_link("a", "b"),
        objstore.ObjectAlreadyExists,
        "object 'a' exists in bucket 'b'",
        "choose another name, delete it first",
    ),
    watch_row("start", {"start": "old"}, "start='old'", '"current", "new", "all"'),
    watch_row("negative start", {"start": -1}, "start=-1", "a sequence from 0 on"),
    watch_row("kinds", {"kinds": {"puts"}}, "'puts'", "delete", "expire", "put"),
    watch_row("on_gap", {"on_gap": "skip"}, "on_gap='skip'", '"raise" or "snapshot"'),
    watch_row("a sequence as cursor", {"after": 7}, "after=7", "goes into `start`"),
    row(
        "watch: bad cursor",
        lambda b: b.watch(after="nonsense"),
        objstore.BadCursorError,
        "cursor 'nonsense'",
        "pass the exact text that `watch.cursor` gave, or start from current values",
    ),
    Row(
        "watch: foreign cursor",
        foreign_cursor,
        objstore.CursorForeignError,
        ("'c'", "'b'", "use the cursor where it came from, or start from current"),
    ),
    row(
        "watch: behind the end of the log",
        lambda b: next(b.watch(start=1_000)),
        objstore.HistoryRewoundError,
        "sequence 999, which this log never kept",
        "start again from current values",
    ),
]

# --- values of another type -------------------------------------------------------


def type_row(case: str, call: Callable[[ObjectStore], object], said: str) -> Row:
    """Give a row for an argument that is of no use at all."""
    return row(case, call, BadObjectMetaError, f"{said}; give ")


def open_nowhere(url: Any, _: Given) -> None:
    """Open what names no place; nothing is made in the current directory."""
    before = set(Path.cwd().iterdir())
    try:
        objstore.open(url).close()
    finally:
        assert before == set(Path.cwd().iterdir())


def url_row(url: Any, problem: str) -> Row:
    """Give a row for a place that is none."""
    return Row(
        f"open: {url!r}",
        partial(open_nowhere, url),
        objstore.BadStoreError,
        (f"url {url!r} {problem}; give a directory, file: and a directory, or mem",),
    )


STRING: Any = "1"
NOTHING: Any = None
NUMBER: Any = 7
TYPE_ROWS = [
    type_row(
        "prefix None", lambda b: b.list(NOTHING), "prefix None has the type NoneType"
    ),
    type_row(
        "start_after 7",
        lambda b: b.list(start_after=NUMBER),
        "start_after 7 has the type int",
    ),
    type_row("limit '1'", lambda b: b.list(limit=STRING), "limit '1' has the type str"),
    type_row(
        "prefix 7", lambda b: list(b.iterate(NUMBER)), "prefix 7 has the type int"
    ),
    type_row(
        "delimiter None",
        lambda b: b.list_directory(delimiter=NOTHING),
        "delimiter None has the type NoneType",
    ),
    type_row(
        "start '1'",
        lambda b: b.get_range("a", start=STRING),
        "start '1' has the type str",
    ),
    type_row(
        "start None",
        lambda b: b.get_range("a", start=NOTHING),
        "start None has the type NoneType",
    ),
    type_row(
        "end '1'", lambda b: b.get_range("a", end=STRING), "end '1' has the type str"
    ),
    type_row(
        "length '1'",
        lambda b: b.get_range("a", length=STRING),
        "length '1' has the type str",
    ),
    url_row("", "is empty"),
    url_row("file:", "names no directory"),
    url_row("file://", "names no directory"),
    url_row("file://localhost", "names no directory"),
    url_row("file:///a%00b", "names no directory"),
    url_row("file://elsewhere/x", "names another host, 'elsewhere'"),
    url_row("file://./x", "names another host, '.'"),
    url_row("memory:x", "gives memory a name"),
    url_row("Memory://x", "gives memory a name"),
    url_row(b"store", "has the type bytes"),
    url_row(7, "has the type int"),
    url_row("a\0b", "has the control character U+0000 at index 1"),
]

CALL_ROWS = [*CONTENT_ROWS, *READ_ROWS, *TYPE_ROWS]

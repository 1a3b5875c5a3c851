"""Bad input gets a clear error and nothing is lost: one row for each case.

A row is a call, the class of its error, and fragments of the error's text: the
offending value, the limit, what to do next. All calls are made on a store on files.
"""

from __future__ import annotations

import gzip
import shutil
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pytest
from tests.messages_call_rows import CALL_ROWS
from tests.messages_place_rows import CLOSED_ROWS, DISK_ROWS, PLACE_ROWS, can_mount
from tests.messages_rows import ARGUMENT_ROWS, OLD, Given, Row

import objstore
from objstore.blocking import ObjectStore

ROWS = [
    *ARGUMENT_ROWS,
    *CALL_ROWS,
    *PLACE_ROWS,
    *CLOSED_ROWS,
    *(DISK_ROWS if can_mount() else []),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store with the bucket `b` and its object `a`, to be copied."""
    place = tmp_path_factory.mktemp("made") / "store"
    with objstore.open(place, retention_interval=None) as store:
        store.create_object_store("b").put("a", OLD)
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """Give a store of the test's own."""
    return shutil.copytree(made, tmp_path / "store")


def check_nothing_lost(place: Path) -> None:
    """Check that the store has what it had before the call, whole, and works."""
    with objstore.open(place, create=False, retention_interval=None) as store:
        bucket = store.object_store("b")
        assert [("a", len(OLD))] == [(info.name, info.size) for info in bucket.list()]
        assert OLD == bucket.get("a")
        assert len(OLD) == bucket.status().size
        assert ["b"] == store.object_store_names()
        report = store.verify()
        assert (True, []) == (report.ok, store.damaged)


@pytest.mark.parametrize("row", ROWS, ids=[row.case for row in ROWS])
def test_bad_input_gets_a_clear_error(row: Row, place: Path) -> None:
    """The error is of the right class, says what, the limit, what to do."""
    with objstore.open(place, retention_interval=None) as store:
        bucket = store.object_store("b")
        if row.config:
            store.update_object_store("b", **row.config)
        with pytest.raises(row.error) as caught:
            row.call(Given(place.parent, store, bucket))

    text = str(caught.value)
    assert [] == [fragment for fragment in row.fragments if fragment not in text]
    assert text.isprintable()
    check_nothing_lost(place)


# --- what is unusual, and fine ----------------------------------------------------

WEIRD = "./\\ ~%*?:|\"'<>$`&;!#@^=+-_äé\u0301\u202e\u200b\u2028\x80\U0001f600\uffff名"


def test_weird_names_are_just_names(place: Path) -> None:
    """Ten thousand names of any characters are kept apart, and are never paths."""
    draw = Random(7)
    names = {
        "..",
        "../..",
        "/",
        "//",
        ".",
        " ",
        "/etc/passwd",
        "CON",
        "a/../b",
        "x" * 1_024,
    }
    while len(names) < 10_000:
        names.add("".join(draw.choices(WEIRD, k=draw.randint(1, 40))))
    before = set(place.parent.iterdir())
    with objstore.open(place, retention_interval=None) as store:
        bucket = store.create_object_store("weird", sync="never")
        for name in names:
            bucket.put(name, name)
        wanted = sorted(names, key=str.encode)

        assert wanted == [info.name for info in bucket.iterate()]
        assert all(bucket.get(name) == name.encode() for name in wanted[::7])
        store.delete_object_store("weird")

    assert before == set(place.parent.iterdir())
    check_nothing_lost(place)


def test_empty_pieces_are_passed_over(place: Path) -> None:
    """A source may yield nothing for a while, at any place."""
    with objstore.open(place, retention_interval=None) as store:
        bucket = store.object_store("b")
        info = bucket.put("a", [b"", b"12", b"", b"", b"345", b""])

        assert (len(OLD), OLD) == (info.size, bucket.get("a"))
    check_nothing_lost(place)


def test_packed_file_gives_what_it_holds(place: Path) -> None:
    """The size of a file that unpacks is not taken for that of its content."""
    content = bytes(3_000_000)
    packed = gzip.compress(content)
    path = place.parent / "packed.gz"
    # Exactly as long as the first slab that a put reads.
    path.write_bytes(packed + bytes(1024 * 1024 - len(packed)))
    with (
        objstore.open(place, retention_interval=None) as store,
        gzip.open(path) as file,
    ):
        info = store.object_store("b").put("n", file)

        assert len(content) == info.size
        assert content == store.object_store("b").get("n")


# --- interrupts -------------------------------------------------------------------

# The log's own moments are in its tests, where no thread of its own is beside them.
PACKAGE = str(Path(objstore.__file__).parent)
NEW = bytes(2_500_000)


@contextmanager
def interrupted_at(place: int) -> Generator[Callable[[], int]]:
    """Send Ctrl-C before the line of that number; tell how many ran."""
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            seen += 1
            if seen == place:
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lambda: seen
    finally:
        sys.settrace(before)


INTERRUPTED_CALLS: dict[str, Callable[[ObjectStore], object]] = {
    "small put": lambda b: b.put("a", b"new"),
    "large put": lambda b: b.put("a", NEW),
    "update_meta": lambda b: b.update_meta("a", objstore.ObjectMeta(description="d")),
    "get": lambda b: b.get("a"),
}


# A file whose opening is interrupted has nothing to close, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("call", INTERRUPTED_CALLS)
def test_interrupt_at_any_moment(place: Path, call: str) -> None:
    """After Ctrl-C a call has happened or not, and the store works on."""
    change = INTERRUPTED_CALLS[call]
    with objstore.open(place, retention_interval=None) as store:
        bucket = store.object_store("b")
        with interrupted_at(0) as lines:
            change(bucket)
        for moment in range(1, lines(), max(lines() // 40, 1)):
            bucket.put("a", OLD)
            with interrupted_at(moment), suppress(KeyboardInterrupt):
                change(bucket)
            assert bucket.get("a") in (OLD, b"new", NEW), moment
            assert ["a"] == [info.name for info in bucket.list()]
        assert store.verify().ok
        bucket.put("a", OLD)
        bucket.update_meta("a", objstore.ObjectMeta(description=""))
    check_nothing_lost(place)

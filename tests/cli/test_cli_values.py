"""What words on the command line mean."""

from datetime import UTC, datetime

import pytest

from objstore.cli import _values
from objstore.cli._failures import UsageError
from objstore.cli._values import Place


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("64KiB", 65_536),
        ("64K", 65_536),
        ("64k", 65_536),
        ("64KB", 64_000),
        ("64 kB", 64_000),
        ("1.5MiB", 1_572_864),
        ("10GB", 10_000_000_000),
        ("1TiB", 2**40),
        ("7B", 7),
    ],
)
def test_size_is_read(text: str, size: int) -> None:
    """A size is a number of bytes with or without a unit."""

    assert size == _values.size_of(text)


@pytest.mark.parametrize("text", ["", "lots", "-1", "1.5.2K", "1e3", "12 apples", "K"])
def test_wrong_size_is_refused(text: str) -> None:
    """What is no size is an error that shows how to write one."""

    with pytest.raises(ValueError, match="64KiB"):
        _values.size_of(text)


def test_no_limit_has_a_word() -> None:
    """The word none is no limit."""

    assert _values.limit_of("none") == -1
    assert _values.limit_of("1KiB") == 1024


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("none", 0),
        ("0", 0),
        ("90", 90),
        ("0.5", 0.5),
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5_400),
        ("7d", 604_800),
        ("2w", 1_209_600),
    ],
)
def test_duration_is_read(text: str, seconds: float) -> None:
    """A duration is seconds, or numbers with units."""

    assert seconds == _values.seconds_of(text)


@pytest.mark.parametrize("text", ["", "soon", "-5", "5 minutes", "1y", "m"])
def test_wrong_duration_is_refused(text: str) -> None:
    """What is no duration is an error that shows how to write one."""

    with pytest.raises(ValueError, match="1h30m"):
        _values.seconds_of(text)


@pytest.mark.parametrize(
    ("text", "sync"), [("always", "always"), ("never", "never"), ("5s", 5.0)]
)
def test_sync_is_read(text: str, sync: str | float) -> None:
    """A way to sync is a word or a duration."""

    assert sync == _values.sync_of(text)


@pytest.mark.parametrize("text", ["", "ALWAYS", "none", "0", "-1", "foo"])
def test_wrong_way_to_sync_is_refused(text: str) -> None:
    """What is none is an error that shows which there are, as `none` is none."""

    with pytest.raises(ValueError, match="always, never or a time"):
        _values.sync_of(text)


def test_start_of_a_watch_is_read() -> None:
    """A watch starts at a word, a sequence, or a time."""
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)

    assert _values.start_of("all") == "all"
    assert _values.start_of("17") == 17
    assert _values.start_of("2026-01-31T12:00:00Z") == noon
    with pytest.raises(ValueError, match="a sequence, or a time"):
        _values.start_of("yesterday")


def test_time_without_zone_is_local() -> None:
    """A start without a zone is a time of this machine."""
    start = _values.start_of("2026-01-31T12:00:00")

    assert isinstance(start, datetime)
    assert start.utcoffset() is not None


def test_places_are_read() -> None:
    """The first slash parts the bucket from the name, which may hold anything."""

    assert _values.object_at("b/a//b ") == Place("b", "a//b ")
    assert _values.target_at("b/") == Place("b", "")
    assert _values.prefix_at("b") == _values.prefix_at("b/") == Place("b", "")


@pytest.mark.parametrize("text", ["b", "b/", ""])
def test_place_without_name_is_no_object(text: str) -> None:
    """An object needs a bucket and a name."""

    with pytest.raises(UsageError, match="BUCKET/"):
        _values.object_at(text)


@pytest.mark.parametrize(
    ("target", "source", "expected"),
    [
        ("b/", "docs/one", "one"),
        ("b/old/", "docs/one", "old/one"),
        ("b/two", "docs/one", "two"),
    ],
)
def test_directory_takes_the_last_part(target: str, source: str, expected: str) -> None:
    """A target that ends in a slash takes the thing's own name."""

    assert expected == _values.target_at(target).below(source).name


@pytest.mark.parametrize("name", ["", "a/", ".", "..", "a/.."])
def test_name_without_last_part_is_refused(name: str) -> None:
    """No file is named after a name that ends in a slash or in dots."""

    with pytest.raises(UsageError, match="write the whole one"):
        _values.last_part(name)


def test_pairs_are_read() -> None:
    """A pair is parted at its first separator; no pairs are no mapping."""

    assert _values.pairs_of(["a=b=c", "d="], "=") == {"a": "b=c", "d": ""}
    assert _values.pairs_of(["Author: Ann"], ":") == {"Author": "Ann"}
    assert _values.pairs_of([], "=") is None
    with pytest.raises(UsageError, match="key=value"):
        _values.pairs_of(["a"], "=")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (2**41, "2.0 TiB")],
)
def test_size_is_written(size: int, text: str) -> None:
    """People read sizes in binary units."""

    assert text == _values.size_text(size)

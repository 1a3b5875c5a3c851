"""The arguments of `watch()`: what they mean, and what has no meaning."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from objstore._watch_steps import watch_options
from objstore_watch import (
    ChangeFilter,
    Cursor,
    Origin,
    Place,
    Start,
    StartAfter,
    StartAll,
    StartAtSequence,
    StartAtTime,
    StartCurrent,
    StartNew,
    encode_cursor,
)
from objstore_watch.errors import BadCursorError, BadWatchError

OBJECT_KINDS = frozenset({"put", "meta", "delete", "link", "expire"})
PLACE = Place(7)
CURSOR = encode_cursor(Cursor(Origin("store", "media", "1"), PLACE))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, StartCurrent()),
        ({"start": "new"}, StartNew()),
        ({"updates_only": True}, StartNew()),
        ({"start": "new", "updates_only": True}, StartNew()),
        ({"start": "all"}, StartAll()),
        ({"include_history": True}, StartAll()),
        ({"start": 0}, StartAtSequence(0)),
        ({"start": 12}, StartAtSequence(12)),
        (
            {"start": datetime(1970, 1, 1, 0, 0, 1, 5, UTC)},
            StartAtTime(1_000_005_000),
        ),
        (
            {"start": datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))},
            StartAtTime(0),
        ),
        ({"after": CURSOR}, StartAfter(PLACE)),
        ({"after": None, "start": "all"}, StartAll()),
    ],
)
def test_start_is_read(arguments: dict[str, Any], expected: Start) -> None:
    """Every way to say where a watch starts."""

    assert expected == watch_options(**arguments).start


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ChangeFilter(OBJECT_KINDS)),
        ({"prefix": "a/"}, ChangeFilter(OBJECT_KINDS, "a/")),
        ({"kinds": ["put", "seal"]}, ChangeFilter(frozenset({"put", "seal"}))),
        (
            {"ignore_deletes": True},
            ChangeFilter(frozenset({"put", "meta", "link"})),
        ),
    ],
)
def test_filter_is_read(arguments: dict[str, Any], expected: ChangeFilter) -> None:
    """Bucket changes are wanted only when they are named."""

    assert expected == watch_options(**arguments).filter


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"start": "now"}, 'start=\'now\'.*"current", "new", "all", a sequence'),
        ({"start": -1}, "start=-1.*a sequence from 0 on"),
        ({"start": True}, "start=True.*a sequence"),
        ({"start": 1.5}, r"start=1\.5.*a sequence"),
        ({"start": datetime(2024, 1, 1)}, "start=datetime.*aware"),  # noqa: DTZ001
        ({"updates_only": True, "include_history": True}, "updates_only is"),
        ({"start": 5, "updates_only": True}, r"start=\[5, 'new'\].*one of them"),
        ({"after": CURSOR, "start": "all"}, "start='all'.*left out beside `after`"),
        ({"after": CURSOR, "updates_only": True}, "left out beside `after`"),
        ({"after": 12}, "after=12.*a sequence or a time goes into `start`"),
        ({"kinds": 5}, "kinds=5"),
        ({"kinds": [["put"]]}, r"kinds=\[\['put'\]\]"),
        ({"kinds": "put"}, "kinds='put'.*a set of some of config, delete"),
        ({"kinds": {"write"}}, r"kinds=\['write'\]"),
        ({"kinds": set[str]()}, r"kinds=\[\]"),
        ({"prefix": None}, "prefix=None.*beginning of object names"),
        ({"prefix": "\ud800"}, "prefix=.*beginning of object names"),
        ({"on_gap": "skip"}, 'on_gap=\'skip\'.*"raise" or "snapshot"'),
    ],
)
def test_meaningless_option_is_refused(arguments: dict[str, Any], text: str) -> None:
    """The error is a `ValueError` that names the value and what is allowed."""
    with pytest.raises(BadWatchError, match=text) as caught:
        watch_options(**arguments)

    assert isinstance(caught.value, ValueError)


def test_mangled_cursor_is_refused() -> None:
    """A cursor that is not whole is refused by the call, before anything is read."""
    with pytest.raises(BadCursorError):
        watch_options(after=CURSOR[:-1])

"""What docs/durability.md promises is held by tests that exist."""

import re
from collections.abc import Mapping

PROMISES = 18
ROW = re.compile(r"^\| (P\d+) \|.*$", re.MULTILINE)
NAMED_TEST = re.compile(r"`(tests/[a-z_/]+\.py)::(test_[a-z_0-9]+)`")


def test_promises_name_tests_that_exist(texts: Mapping[str, str]) -> None:
    """Every promise has its row, and every test that a row names is there."""
    text = texts["docs/durability.md"]
    named = NAMED_TEST.findall(text)
    missing = [
        f"{path}::{name}" for path, name in named if f"def {name}(" not in texts[path]
    ]

    assert [f"P{number}" for number in range(1, PROMISES + 1)] == ROW.findall(text)
    assert PROMISES <= len(named)
    assert [] == missing

"""Rules about the words and characters of every text file."""

import re
from collections.abc import Mapping

# Written with brackets so that this file does not break its own rule.
UNFINISHED = re.compile(r"\b(TO[D]O|FIX[M]E|X[X]X)\b(?!\(#\d+\))")

# C0 controls without newline, DEL, C1 controls, and the marks that reorder text
# or hide in it.
HIDDEN = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)

# Files whose syntax needs the tabulator.
TABULATED = {"Makefile"}


def _places(pattern: re.Pattern[str], texts: Mapping[str, str]) -> list[str]:
    return [
        f"{path}:{number} {line.strip()!r}"
        for path, text in texts.items()
        for number, line in enumerate(text.split("\n"), start=1)
        if pattern.search(line.replace("\t", "") if path in TABULATED else line)
    ]


def test_unfinished_work_has_an_issue(texts: Mapping[str, str]) -> None:
    """A mark of unfinished work names the issue that will finish it."""

    assert [] == _places(UNFINISHED, texts)


def test_nothing_is_hidden(texts: Mapping[str, str]) -> None:
    """No file holds control characters or marks that a reader cannot see."""

    assert [] == _places(HIDDEN, texts)


def test_lines_end_clean(texts: Mapping[str, str]) -> None:
    """No line ends in a space, and every file ends in one newline."""
    spaces = _places(re.compile(r" $"), texts)
    ends = [
        path
        for path, text in texts.items()
        if text and (not text.endswith("\n") or text.endswith("\n\n"))
    ]

    assert [] == spaces + ends

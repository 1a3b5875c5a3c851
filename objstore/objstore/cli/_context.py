"""What every command is given: which store, and how to answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Final, TypeAlias

from cyclopts import Parameter

import objstore
from objstore.blocking import Store
from objstore.cli._failures import CommandError, UsageError, about

# Not when a command opens its store: Ctrl-C while that is loaded could be lost.
import_module("objstore._embedded")

LOCK_TIMEOUT_S: Final = 60.0
STANDARD_OUTPUT: Final = "standard output"


@dataclass(frozen=True, slots=True)
class Context:
    """The options that all commands share."""

    url: str | None = None
    """The store; `None` for the default."""
    is_json: bool = False
    """Whether programs read the answer."""
    lock_timeout_s: float = LOCK_TIMEOUT_S
    """How long a change waits for another process that writes."""

    def open(self, *, create: bool = False) -> Store:
        """Open the store; only a command that makes a bucket makes a store.

        Retention and the scrub stay with the commands for them and with long-running
        programs.
        """
        return objstore.open(
            self.url,
            create=create,
            retention_interval=None,
            scrub_rate=None,
            lock_timeout=self.lock_timeout_s,
        )

    def emit(self, document: object, lines: Iterable[str]) -> None:
        """Give an answer: the document to programs, the lines to people."""
        if self.is_json:
            write(json.dumps(document))
            return
        for line in lines:
            print_line(line)

    def emit_many(
        self, head: Mapping[str, object], key: str, items: Iterable[tuple[object, str]]
    ) -> None:
        """Give an answer of any length: one document with the items under `key`."""
        if not self.is_json:
            for _, line in items:
                print_line(line)
            return
        opening = json.dumps({**head, key: []})
        write(opening.removesuffix("]}"), end="")
        separator = "\n"
        for document, _ in items:
            write(f"{separator}{json.dumps(document)}", end="")
            separator = ",\n"
        write("]}")

    def refuse_json(self, why: str) -> None:
        """Raise `UsageError` when programs wait for a document that cannot come."""
        if self.is_json:
            problem = f"--json cannot be used here: {why}"
            raise UsageError(problem)


Shared: TypeAlias = Annotated[Context, Parameter(parse=False)]
"""The type of a command's `context`, which comes from no argument of its own."""


def write(text: str, *, end: str = "\n", flush: bool = False) -> None:
    """Write to standard output, whose errors name no file of their own."""
    with about(STANDARD_OUTPUT):
        print(text, end=end, flush=flush)


def print_line(line: str, *, flush: bool = False) -> None:
    """Print a line; on a terminal without characters that would command it."""
    if sys.stdout.isatty() and not line.isprintable():
        line = "".join(
            character
            if character.isprintable()
            else character.encode("unicode_escape").decode()
            for character in line
        )
    write(line, flush=flush)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is done that cannot be undone.

    Raises:
        UsageError: there is nobody to ask.
        CommandError: the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        problem = f"{question} There is no terminal to ask on; say it with --yes"
        raise UsageError(problem)
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        problem = "nothing was changed"
        raise CommandError(problem)


def number(value: Any, what: str) -> str:
    """Write a count with its noun, which takes an s."""
    return f"{value:,} {what}{'' if value == 1 else 's'}"

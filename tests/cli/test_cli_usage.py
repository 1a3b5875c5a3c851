"""What the help of each command shows of its arguments."""

import inspect
from collections.abc import Iterator

import pytest
from cyclopts import App

from objstore.cli._app import app

from .harness import Cli

WIDTH = 80

USAGES = [
    "COMMAND [OPTIONS]",
    "put [OPTIONS] FILE... BUCKET/[NAME]",
    "get [OPTIONS] BUCKET/NAME [PATH]",
    "cat [OPTIONS] BUCKET/NAME",
    "ls [OPTIONS] [BUCKET/[PREFIX]]",
    "info [OPTIONS] BUCKET/NAME",
    "rm [OPTIONS] BUCKET/NAME...",
    "cp [OPTIONS] BUCKET/NAME BUCKET/[NAME]",
    "mv [OPTIONS] BUCKET/NAME BUCKET/[NAME]",
    "ln [OPTIONS] BUCKET/[NAME] BUCKET/NAME",
    "watch [OPTIONS] BUCKET/[PREFIX]",
    "verify [OPTIONS] [BUCKET/[PREFIX]]",
    "backup [OPTIONS] DIR",
    "export [OPTIONS] BUCKET/[PREFIX] DIR",
    "import [OPTIONS] DIR BUCKET/[PREFIX]",
    "demo [OPTIONS] [PATH]",
    "completion [OPTIONS] SHELL",
    "version [OPTIONS]",
    "bucket COMMAND [OPTIONS]",
    "bucket create [OPTIONS] BUCKET",
    "bucket ls [OPTIONS]",
    "bucket info [OPTIONS] BUCKET",
    "bucket edit [OPTIONS] BUCKET",
    "bucket rm [OPTIONS] BUCKET",
    "bucket seal [OPTIONS] BUCKET",
    "retention COMMAND [OPTIONS]",
    "retention run [OPTIONS]",
]


def words_of(usage: str) -> list[str]:
    """Give the words that name the command of a usage."""
    return usage.partition("[OPTIONS]")[0].replace("COMMAND", "").split()


def commands(group: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Give the words that name each command, groups too."""
    yield path
    for name, command in group.resolved_commands().items():
        if not name.startswith("-"):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("usage", USAGES)
def test_usage_shows_arguments(cli: Cli, usage: str) -> None:
    """The first line of each help says what the command takes, and in what order."""
    outcome = cli(*words_of(usage), "--help")

    assert outcome.status == 0
    assert outcome.out.startswith(f"Usage: objstore {usage}\n\n")


def test_help_is_shown_wherever_it_is_asked_for(cli: Cli) -> None:
    """What stands beside the wish for help changes nothing of it."""
    usage = "Usage: objstore put [OPTIONS] FILE... BUCKET/[NAME]\n"

    assert cli("put", "--help", "b/").out.startswith(usage)
    assert cli("--json", "put", "-h").out.startswith(usage)


def test_every_command_has_its_usage_here() -> None:
    """No command is left out above."""

    assert sorted(commands(app)) == sorted(tuple(words_of(usage)) for usage in USAGES)


def test_help_fits_a_terminal() -> None:
    """No line of a description is broken once more by a terminal of usual width."""
    for words in commands(app):
        command = app
        for word in words:
            command = command[word]
        text = inspect.getdoc(command.default_command) or ""

        assert max(map(len, text.splitlines()), default=0) <= WIDTH, words

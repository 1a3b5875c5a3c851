"""What shells are given to complete, and that a real bash completes with it."""

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from objstore.cli._complete import words_of

from .harness import Cli

QUIET_S = 10

ROWS: list[tuple[list[str], set[str]]] = [
    (["ver"], {"verify", "version"}),
    (["bucket", "c"], {"create"}),
    (["bucket", "--store", "x", "s"], {"seal"}),
    (["retention", ""], {"run"}),
    (["put", "--rec"], {"--recursive"}),
    (["--st"], {"--store"}),
    (["ls", "--js"], {"--json"}),
    (["put", "he"], {"hello.txt"}),
    (["put", "hello.txt", ""], {"hello.txt", "objstore-data/", "b/"}),
    (["put", "--ttl", "1h", "he"], {"hello.txt"}),
    (["put", "--ttl=1h", "he"], {"hello.txt"}),
    (["cat", ""], {"b/"}),
    (["cat", "b/"], {"b/docs/", "b/hello.txt", "b/link"}),
    (["cat", "b/docs/o"], {"b/docs/one"}),
    (["cat", "b/link", "b/"], set()),
    (["rm", "b/link", "b/h"], {"b/hello.txt"}),
    (["get", "b/link", "h"], {"hello.txt"}),
    (["bucket", "seal", ""], {"b"}),
    (["watch", "b", "--start", ""], {"current", "new", "all"}),
    (["watch", "b", "--start=a"], {"--start=all"}),
    (["watch", "b", "--kinds", "put,del"], {"put,delete"}),
    (["bucket", "create", "x", "--sync", "n"], {"never"}),
    (["cat", "--start", ""], set()),
    (["--store", "obj"], {"objstore-data/"}),
    (["demo", ""], {"objstore-data/"}),
    (["completion", "f"], {"fish"}),
    (["cat", "nobucket/"], set()),
    (["--store", "nowhere", "cat", ""], set()),
    (["rm", "--", "b/h"], {"b/hello.txt"}),
    (["rm", "--", "--"], set()),
    (["nonsense", "verif"], {"verify"}),
]


@pytest.mark.parametrize(("words", "expected"), ROWS)
def test_words_are_completed(
    cli: Cli, bucket: str, words: list[str], expected: set[str]
) -> None:
    """Commands, options, their values, files, buckets and objects are offered."""
    outcome = cli("__complete", "words", *words)

    assert outcome.err == ""
    assert expected == {line.partition("\t")[0] for line in outcome.out.splitlines()}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("objstore", [""]),
        ("objstore ", [""]),
        ("objstore ls b/x", ["ls", "b/x"]),
        ("objstore ls ", ["ls", ""]),
        ("objstore cat 'b/my fi", ["cat", "b/my fi"]),
        ('objstore cat "b/my', ["cat", "b/my"]),
        (r"objstore cat b/my\ fi", ["cat", "b/my fi"]),
    ],
)
def test_line_is_split_as_shells_do(line: str, words: list[str]) -> None:
    """A word that is being typed may have its quote still open."""

    assert words == words_of(line)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_asks_the_command(cli: Cli, place: Path, shell: str) -> None:
    """Each shell has a script, and the script asks what fits."""
    outcome = cli("completion", shell)

    assert outcome.status == 0
    assert "__complete" in outcome.out


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("objstore verif\t", "objstore verify "),
        ("objstore cat b/he\t", "objstore cat b/hello.txt "),
        ("objstore cat b/my\t", "objstore cat b/my\\ file "),
        ("objstore cat b/a:\t", "objstore cat b/a:b "),
        ("objstore ls b/do\t\b", "objstore ls b/docs/\b"),
        ("objstore ls --store=objs\t", "objstore ls --store=objstore-data/"),
    ],
)
def test_bash_completes(
    cli: Cli, bucket: str, place: Path, typed: str, completed: str
) -> None:
    """An interactive bash completes a line when the key Tab is pressed."""
    for name in ("my file", "a:b"):
        assert cli("put", "hello.txt", f"b/{name}").status == 0
    (place / "script").write_text(cli("completion", "bash").out)

    assert completed in line_in_bash(typed, completed)


def line_in_bash(typed: str, expected: str) -> str:
    """Type into a bash that has the script; give what its screen shows by then."""
    ours, theirs = pty.openpty()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PS1": "", "TERM": "dumb"}
    try:
        with subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        ) as bash:
            os.write(ours, b"source ./script; PS1=; echo rea''dy\n")
            read_until(ours, "ready\r\n")
            os.write(ours, typed.encode())
            screen = read_until(ours, expected)
            bash.kill()
    finally:
        os.close(ours)
        os.close(theirs)
    return screen


def read_until(screen: int, text: str) -> str:
    """Read until a text is there, or until there is nothing for long."""
    shown = ""
    while text not in shown and select.select([screen], [], [], QUIET_S)[0]:
        shown += os.read(screen, 65_536).decode()
    return shown

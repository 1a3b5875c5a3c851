"""The command as a process: pipes, signals, terminals, other processes, no extra."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .harness import COMMAND, WAIT_S, Cli

Process = Callable[..., subprocess.CompletedProcess[bytes]]

WITHOUT_EXTRA = """
import sys
sys.modules[{name!r}] = None
import objstore.cli
sys.argv = ["objstore", "ls"]
sys.exit(objstore.cli.main())
"""


def started(
    *arguments: str, stdin: int | None = None, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a command whose output comes through a pipe."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        # What `select` tells must not wait in a buffer of ours.
        bufsize=0,
    )


def line_of(process: subprocess.Popen[bytes]) -> Any:
    """Read a line of JSON, but do not wait for ever."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], WAIT_S)[0]
    return json.loads(process.stdout.readline())


def test_pipes_carry_content(process: Process, bucket: str) -> None:
    """Content goes in through standard input and out through standard output."""
    content = os.urandom(3_000_000)

    assert process("put", "-", "b/stream", stdin=content).returncode == 0
    assert content == process("cat", "b/stream").stdout


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_broken_pipe_is_quiet(cli: Cli, bucket: str, unbuffered: str) -> None:
    """A reader that goes away ends the command with 141 and no word."""
    cli("put", "-", "b/large", stdin=bytes(3_000_000))
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with started("cat", "b/large", env=environment) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.read(10)
        command.stdout.close()
        assert command.stderr.read() == b""
        assert command.wait(WAIT_S) == 141


def test_full_output_is_told(process: Process, bucket: str) -> None:
    """Output that cannot be written is an error, once."""
    with Path("/dev/full").open("wb") as full:
        outcome = process("ls", "b", stdout=full)

    assert outcome.returncode == 1
    assert outcome.stderr == b"objstore: standard output: No space left on device\n"


@pytest.mark.parametrize("closing", ["<&-", "<&- >&- 2>err"])
def test_closed_input_is_no_empty_input(
    process: Process, bucket: str, closing: str
) -> None:
    """A put of a standard input that is not there is refused, and replaces nothing."""
    script = f'"$0" -m objstore.cli put - b/hello.txt {closing}'
    ended = subprocess.run(
        ["sh", "-c", script, sys.executable],
        check=False,
        capture_output=True,
        timeout=WAIT_S,
    )

    told = ended.stderr or Path("err").read_bytes()
    assert ended.returncode == 2
    assert b"standard input is closed; open it with < FILE or |" in told
    assert process("cat", "b/hello.txt").stdout == b"hello\n"


def test_closed_input_gives_no_consent(process: Process, bucket: str) -> None:
    """A question that nobody can answer is answered with no."""
    script = '"$0" -m objstore.cli bucket rm b <&-'
    ended = subprocess.run(
        ["sh", "-c", script, sys.executable],
        check=False,
        stderr=subprocess.PIPE,
        timeout=WAIT_S,
    )

    assert ended.returncode == 2
    assert b"say it with --yes" in ended.stderr
    assert process("ls").stdout == b"b\n"


def test_closed_streams_harm_nothing(process: Process, bucket: str) -> None:
    """A command that was started without its streams does its work."""
    script = '"$0" -m objstore.cli put hello.txt b/closed <&- >&- 2>&-'
    outcome = subprocess.run(["sh", "-c", script, sys.executable], check=False)

    assert outcome.returncode == 0
    assert process("cat", "b/closed").stdout == b"hello\n"


def test_watch_sees_another_process(cli: Cli, bucket: str) -> None:
    """A change is told, line by line, while the watch goes on; Ctrl-C ends it."""
    with started("watch", "b", "--start", "all", "--json") as command:
        assert command.stderr is not None
        assert line_of(command)["name"] == "hello.txt"
        for _ in range(5):
            line_of(command)
        cli("put", "hello.txt", "b/new")
        change = line_of(command)
        command.send_signal(signal.SIGINT)
        assert command.wait(WAIT_S) == 130
        assert command.stderr.read() == b""

    assert (change["kind"], change["name"], change["size"]) == ("put", "new", 6)


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGINT, 130, b"objstore: interrupted; "),
        (signal.SIGTERM, 143, b"objstore: ended by SIGTERM; "),
    ],
)
def test_interrupted_put_leaves_nothing(
    cli: Cli, bucket: str, number: int, status: int, said: bytes
) -> None:
    """Ctrl-C or SIGTERM in the middle of a put is told, and nothing is stored."""
    with started("put", "-", "b/half", stdin=subprocess.PIPE) as command:
        assert command.stdin is not None
        assert command.stderr is not None
        # More than a pipe holds: when it is through, the put is reading.
        content = memoryview(bytes(3_000_000))
        while content:
            content = content[command.stdin.write(content) :]
        command.send_signal(number)
        assert status == command.wait(WAIT_S)
        told = command.stderr.read()

    assert told.startswith(said)
    assert told.count(b"\n") == 1
    assert cli("info", "b/half").status == 3
    assert cli("verify").status == 0


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_watch_ends_without_a_word(bucket: str, number: int, status: int) -> None:
    """A watch that is asked to end does so, and has nothing to tell."""
    with started("--json", "watch", "b") as command:
        assert command.stderr is not None
        line_of(command)
        command.send_signal(number)
        assert status == command.wait(WAIT_S)
        assert command.stderr.read() == b""


def test_watch_ends_with_its_reader(bucket: str) -> None:
    """A watch notices that nobody reads any more, also when nothing changes."""
    with started("--json", "watch", "b") as command:
        assert command.stdout is not None
        assert command.stderr is not None
        for _ in range(4):
            line_of(command)
        command.stdout.close()
        assert command.wait(WAIT_S) == 141
        assert command.stderr.read() == b""


def test_interruption_while_loading_is_told(place: Path) -> None:
    """Ctrl-C before a command runs ends with 130 and one line, too."""
    script = (
        "import sys, builtins, objstore.cli as cli; load = builtins.__import__\n"
        "def interrupted(name, *rest):\n"
        "    if name == 'cyclopts': raise KeyboardInterrupt\n"
        "    return load(name, *rest)\n"
        "builtins.__import__ = interrupted; sys.exit(cli.main())"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False
    )

    assert outcome.returncode == 130
    assert outcome.stderr == b"objstore: interrupted\n"


def test_warnings_of_the_library_are_told(place: Path) -> None:
    """What the library warns of looks like everything that the command says."""
    script = (
        "import logging, objstore.cli._app as app, objstore.cli as cli;"
        "warn = logging.getLogger('objstore').warning;"
        "app.run = lambda *_, **__: warn('a\\nb'); cli.main()"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True
    )

    assert outcome.stderr == b"objstore: a b\n"


@pytest.mark.parametrize("name", ["cyclopts", "rich"])
def test_missing_extra_is_told(place: Path, name: str) -> None:
    """Without its extra the command says what to install."""
    script = WITHOUT_EXTRA.format(name=name)
    outcome = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False
    )

    assert outcome.returncode == 1
    assert outcome.stdout == b""
    assert name.encode() in outcome.stderr
    assert b'pip install "objstore-embedded[cli]"\n' in outcome.stderr
    assert outcome.stderr.count(b"\n") == 1


def test_entry_point_is_the_command(place: Path) -> None:
    """The installed script and the module are one command."""
    script = Path(sys.executable).with_name("objstore")
    outcome = subprocess.run([script, "version"], capture_output=True, check=True)

    assert outcome.stdout.startswith(b"objstore ")


def test_small_command_loads_little(bucket: str) -> None:
    """What a command does not need is not loaded, so that it starts fast."""
    script = (
        "import sys; from objstore.cli._app import run; run(['ls', 'b']);"
        "print([name for name in ('rich', 'importlib.metadata', 'trio',"
        " 'objstore.cli._demo', 'objstore.cli._put') if name in sys.modules])"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True
    )

    assert outcome.stdout.splitlines()[-1] == b"[]"


def test_unexpected_error_is_one_line(place: Path) -> None:
    """A bug is told in one line, and how to see more."""
    script = (
        "import sys, objstore.cli._app as app, objstore.cli as cli;"
        "app.run = lambda *_, **__: 1 / 0; cli.main()"
    )
    command = [sys.executable, "-c", script]
    short = subprocess.run(command, capture_output=True, check=False)
    environment = {**os.environ, "OBJSTORE_TRACEBACK": "1"}
    long = subprocess.run(command, capture_output=True, check=False, env=environment)

    assert short.returncode == long.returncode == 1
    assert short.stderr.startswith(b"objstore: internal error at <string>:1: ZeroDiv")
    assert short.stderr.count(b"\n") == 1
    assert b"Traceback" in long.stderr


# --- terminals --------------------------------------------------------------------


def on_terminal(*arguments: str, typed: bytes = b"") -> tuple[int, bytes, bytes]:
    """Run a command on a terminal; give its status, its output, the screen."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [*COMMAND, *arguments], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs
        ) as command:
            os.write(ours, typed)
            out, _ = command.communicate(timeout=WAIT_S)
        screen = b""
        while select.select([ours], [], [], 0.1)[0]:
            screen += os.read(ours, 65_536)
    finally:
        os.close(ours)
        os.close(theirs)
    return command.returncode, out, screen


def test_progress_is_on_standard_error_only(bucket: str) -> None:
    """On a terminal a bar is drawn on standard error; the output stays clean."""
    status, out, screen = on_terminal("--json", "put", "hello.txt", "b/")

    assert status == 0
    assert json.loads(out)["objects"][0]["name"] == "hello.txt"
    assert "put" in screen.decode()


@pytest.mark.parametrize(
    ("typed", "status", "is_left"), [(b"y\n", 0, False), (b"no\n", 1, True)]
)
def test_question_is_asked_on_a_terminal(
    cli: Cli, bucket: str, typed: bytes, status: int, is_left: bool
) -> None:
    """On a terminal the removal of what is not empty waits for a yes."""
    found, _, screen = on_terminal("bucket", "rm", "b", typed=typed)

    assert status == found
    assert b"4 objects" in screen
    assert is_left == (cli("bucket", "ls").out == "b\n")


def test_terminal_is_not_commanded_by_names(cli: Cli, bucket: str) -> None:
    """A name that holds a terminal's control sequence is shown as text."""
    name = "b/evil\x9b2J"
    assert cli("put", "hello.txt", name).status == 0
    assert cli("ls", "-r", "b/evil").out == f"{name[2:]}\n"

    ours, theirs = pty.openpty()
    try:
        subprocess.run([*COMMAND, "ls", "-r", "b/evil"], check=True, stdout=theirs)
        screen = os.read(ours, 65_536)
    finally:
        os.close(ours)
        os.close(theirs)
    assert rb"evil\x9b2J" in screen

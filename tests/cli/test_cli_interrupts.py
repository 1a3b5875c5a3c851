"""Ctrl-C at any moment of the installed command, from its first line on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .harness import WAIT_S, Cli

SCRIPT = Path(sys.executable).with_name("objstore")

# Python itself starts it, before any code of ours: tells when ours loads the package.
TELLING = """
import os, sys

def tell(event, arguments, told=[]):
    if event == "import" and arguments[0] == "objstore" and not told:
        told.append(os.write(int(os.environ["TOLD_BY"]), b"!"))

sys.addaudithook(tell)
"""


def begun(
    place: Path, *arguments: str, is_deaf: bool = False
) -> subprocess.Popen[bytes]:
    """Start the command, which may read its input for ever; return when it loads."""
    (place / "sitecustomize.py").write_text(TELLING)
    told, telling = os.pipe()
    environment = {**os.environ, "PYTHONPATH": str(place), "TOLD_BY": str(telling)}
    # What is ignored stays so in the program that takes the shell's place.
    deafness = "trap '' INT; " if is_deaf else ""
    try:
        process = subprocess.Popen(
            ["sh", "-c", f'{deafness}exec "$0" "$@"', SCRIPT, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            pass_fds=[telling],
        )
    finally:
        os.close(telling)
    with os.fdopen(told, "rb") as reader:
        assert reader.read(1) == b"!"
    return process


@pytest.mark.parametrize(
    "after_s", [0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.14, 0.18, 0.24, 0.3, 0.4, 0.5]
)
def test_interrupt_shows_no_traceback(
    cli: Cli, bucket: str, place: Path, after_s: float
) -> None:
    """While the command is loaded and while it works, Ctrl-C is a quiet end."""
    with begun(place, "put", "-", f"{bucket}/half") as command:
        time.sleep(after_s)
        command.send_signal(signal.SIGINT)
        status = command.wait(WAIT_S)
        assert command.stderr is not None
        told = command.stderr.read()

    assert status in {-signal.SIGINT, 130}
    assert b"Traceback" not in told
    assert told == b"" or told.startswith(b"objstore: interrupted; ")
    assert cli("info", f"{bucket}/half").status == 3


def test_interrupt_is_heard_again_when_all_is_loaded(bucket: str, place: Path) -> None:
    """A command that is at work unwinds, and tells that it was broken off."""
    with begun(place, "put", "-", f"{bucket}/half") as command:
        assert command.stdin is not None
        assert command.stderr is not None
        # More than a pipe holds: when it is through, the put is reading.
        command.stdin.write(bytes(3_000_000))
        command.send_signal(signal.SIGINT)

        assert command.wait(WAIT_S) == 130
        assert command.stderr.read().startswith(b"objstore: interrupted; ")


def test_ignored_interrupt_stays_ignored(cli: Cli, bucket: str, place: Path) -> None:
    """Under nohup and behind a shell's `&` no Ctrl-C ends the command."""
    with begun(place, "put", "-", f"{bucket}/whole", is_deaf=True) as command:
        command.send_signal(signal.SIGINT)
        assert command.stdin is not None
        command.stdin.write(bytes(3_000_000))
        command.send_signal(signal.SIGINT)
        command.stdin.close()

        assert command.wait(WAIT_S) == 0
    assert cli("cat", f"{bucket}/whole").out.count("\0") == 3_000_000

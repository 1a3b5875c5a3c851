"""The library prints nothing of its own accord."""

import subprocess
import sys

import pytest

WARN = """
import logging, sys
if len(sys.argv) > 1:
    logging.basicConfig()
import objstore
logging.getLogger("objstore").warning("something happened")
"""


@pytest.mark.parametrize("asks", [False, True])
def test_warnings_are_for_those_who_ask(*, asks: bool) -> None:
    """A program without logging sees none, one with logging sees all."""
    call = [sys.executable, "-c", WARN, *(["yes"] if asks else [])]
    done = subprocess.run(call, check=True, capture_output=True, text=True)

    assert asks == ("something happened" in done.stderr)
    assert "" == done.stdout

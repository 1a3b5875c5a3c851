"""What tests of the command line share."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

WAIT_S = 30
COMMAND = [sys.executable, "-m", "objstore.cli"]


@dataclass(frozen=True)
class Outcome:
    """What a command has left."""

    status: int
    out: str
    err: str


Cli = Callable[..., Outcome]

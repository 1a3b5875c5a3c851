"""Programs that stand still at a certain place, until the campaign lets them go on."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from tests.torture.crowd_worker import entered

from objstore_log._commit import Committer, _Batch

Talk: TypeAlias = "Connection[Any, Any]"
HELD = "held"
"""The bucket of these programs."""


def hold(place: str, talk: Talk) -> None:
    """Put again and again; stand still in each commit, with the lock."""
    write = Committer._write

    def hang(committer: Committer, batch: _Batch) -> None:
        talk.send("holding")
        talk.recv()
        write(committer, batch)

    with entered(place, "sync") as opened:
        bucket = opened.bucket(HELD)
        setattr(Committer, "_write", hang)  # noqa: B010 - a test's own method
        number = 0
        while True:
            number += 1
            info = bucket.put("holder's", f"{number}".encode())
            talk.send(info.seq)

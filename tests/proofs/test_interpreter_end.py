"""What finalizers call when the interpreter ends: it may fail, and never hangs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import objstore

PROGRAM = """
import io, sys
import objstore

store = objstore.open(sys.argv[1], retention_interval=None)
bucket = store.object_store("b", create=True)
bucket.put("kept", bytes(3_000_000))
reader = bucket.open_reader("kept")
reader.read(1)
writer = bucket.open_writer("late")
writer.write(bytes(3_000_000))
wrapper = io.BufferedWriter(bucket.open_writer("later"))
wrapper.write(b"1")

class Late:
    def __init__(self, name, work):
        self.name, self.work = name, work

    def __del__(self):
        try:
            self.work()
            print(self.name, "ends", flush=True)
        except objstore.ClosedError as error:
            print(self.name, error, flush=True)

put = Late("put", lambda: bucket.put("latest", b"1"))
read = Late("reader", reader.close)
write = Late("writer", writer.close)
close = Late("close", store.close)
"""


def test_late_calls_end(tmp_path: Path) -> None:
    """No thread is started or waited for; what was acknowledged is there."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=30
    )
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert {"put", "reader", "writer", "close"} == told.keys()
    assert ("ends", "ends") == (told["reader"], told["close"])
    assert "is closed" in told["put"]
    with objstore.open(tmp_path, retention_interval=None) as store:
        assert [info.name for info in store.object_store("b").list()] == ["kept"]

"""A process without room is told so; nothing is taken for damaged by it."""

from __future__ import annotations

import threading
from typing import Any, Never

import orjson
import pytest
from tests.fakes.fake_engine import FakeEngine

from objstore import blocking
from objstore._config import decode_config
from objstore._document import decode_document
from objstore._handles import Session

LARGE = bytes(range(256)) * 20_000


@pytest.mark.parametrize("decode", [decode_document, decode_config])
def test_no_memory_for_a_document_is_no_damage(
    monkeypatch: pytest.MonkeyPatch, decode: Any
) -> None:
    """What the parser calls bad JSON when it has no memory is a `MemoryError`."""

    def refuse(document: bytes) -> Never:
        message = "Not enough memory to allocate buffer for parsing"
        raise orjson.JSONDecodeError(message, "", 0)

    monkeypatch.setattr(orjson, "loads", refuse)
    with pytest.raises(MemoryError):
        decode(b"{}")


def test_large_put_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, the content is hashed where it is put."""

    def refuse(thread: threading.Thread) -> Never:
        raise RuntimeError("can't start new thread")

    bucket = blocking.Store(Session(FakeEngine())).create_object_store("b")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    bucket.put("a", LARGE)

    assert bucket.get("a") == LARGE

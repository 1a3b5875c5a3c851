"""A process without room is told so; nothing is taken for damaged by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Never

import orjson
import pytest
from tests.fakes.fake_engine import FakeEngine

from objstore import _effects, blocking
from objstore._config import decode_config
from objstore._document import decode_document
from objstore._handles import Session
from objstore_log import _threads

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


def _refuse(*_: object) -> Never:
    message = "can't start new thread"
    raise RuntimeError(message)


def _die_at_once(*_: object) -> None:
    """Start a thread that has no memory for its first step."""


@pytest.mark.parametrize("start", [_refuse, _die_at_once])
def test_large_put_needs_no_thread(
    monkeypatch: pytest.MonkeyPatch, start: Callable[..., None]
) -> None:
    """Where no thread comes to work, the content is hashed where it is waited for."""
    bucket = blocking.Store(Session(FakeEngine())).create_object_store("b")
    monkeypatch.setattr(_effects, "STALLED_S", 0.01)
    monkeypatch.setattr(_threads, "start_new_thread", start)
    bucket.put("a", LARGE)

    assert bucket.get("a") == LARGE

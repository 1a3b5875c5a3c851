"""The examples in the docstrings of the public API run as they stand."""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import pytest

import objstore
from objstore import blocking

WANTED = {
    "ObjectStore.add_link",
    "ObjectStore.get",
    "ObjectStore.list",
    "ObjectStore.open_reader",
    "ObjectStore.open_writer",
    "ObjectStore.put",
    "ObjectStore.seal",
    "ObjectStore.status",
    "ObjectStore.update_meta",
    "ObjectStore.watch",
    "Store",
    "connect",
    "open",
}


def _example(documented: object) -> str | None:
    _, found, text = (inspect.getdoc(documented) or "").partition("\nExample:\n")
    return textwrap.dedent(text) if found else None


def _examples() -> Iterator[tuple[str, str]]:
    places: list[tuple[str, object]] = [
        (name, value) for name, value in vars(objstore).items() if name[0] != "_"
    ]
    for kind in (objstore.Store, objstore.ObjectStore):
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            places.append((f"{kind.__name__}.{name}", method))
    for place, documented in places:
        code = _example(documented)
        if code is not None:
            yield place, code


EXAMPLES = dict(_examples())


def test_calls_that_matter_have_an_example() -> None:
    """Each of the main calls shows how it is used."""

    assert [] == sorted(WANTED - EXAMPLES.keys())


@pytest.mark.anyio
@pytest.mark.parametrize("place", EXAMPLES)
async def test_docstring_example_runs(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An example runs with a store, and a bucket with one object, at hand."""
    monkeypatch.chdir(tmp_path)
    async with objstore.connect("memory:") as store:
        bucket = await store.create_object_store("b")
        await bucket.put("report", b"content")
        names = {"io": io, "objstore": objstore, "store": store, "bucket": bucket}
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(EXAMPLES[place], place, "exec", flags=flags)
        ran = FunctionType(code, names | vars(objstore))()
        if inspect.iscoroutine(ran):
            await ran


@pytest.mark.parametrize("kind", [blocking.Store, blocking.ObjectStore])
def test_twins_are_documented(kind: type) -> None:
    """Every synchronous call says what it does."""
    methods = inspect.getmembers(kind, inspect.isfunction)

    assert [] == [
        name for name, each in methods if not name.startswith("_") and not each.__doc__
    ]

"""Rules about catching errors."""

import ast
from collections.abc import Iterator, Mapping

import pytest

# The only functions that may catch every error, as `path::function`, each with its
# reason.
BROAD_PLACES: Mapping[str, str] = {
    "objstore/objstore/_drivers.py::run": "throws it into the object logic",
    "objstore/objstore/_drivers.py::arun": "throws it into the object logic",
}

BROAD_NAMES = {"Exception", "BaseException"}


def _names(node: ast.expr | None) -> set[str]:
    """Name what a handler catches; nothing named means everything."""
    match node:
        case None:
            return {"BaseException"}
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return {name}
        case ast.Tuple(elts=elements):
            return {name for element in elements for name in _names(element)}
        case _:
            return set()


def _passes_on(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler ends by raising what it caught."""
    return isinstance(handler.body[-1], ast.Raise)


def _is_broad(node: ast.AST) -> bool:
    match node:
        case ast.ExceptHandler(type=caught):
            return bool(_names(caught) & BROAD_NAMES) and not _passes_on(node)
        case ast.Call(
            func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=caught
        ):
            return any(_names(each) & BROAD_NAMES for each in caught)
        case _:
            return False


def _broad_places(node: ast.AST, place: str) -> Iterator[str]:
    """Find every broad handler under a node, as the function that holds it."""
    for child in ast.iter_child_nodes(node):
        if _is_broad(child):
            yield place
        inner = place
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{place.partition('::')[0]}::{child.name}"
        yield from _broad_places(child, inner)


def test_every_error_is_caught_only_in_listed_places(
    trees: Mapping[str, ast.Module],
) -> None:
    """Code catches the errors that it expects; a listed place may catch every one."""
    found = {
        place for path, tree in trees.items() for place in _broad_places(tree, path)
    }

    assert set(BROAD_PLACES) == found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("try: pass\nexcept: pass", ["m"]),
        ("try: pass\nexcept Exception: pass", ["m"]),
        ("try: pass\nexcept (OSError, Exception): pass", ["m"]),
        ("try: pass\nexcept* Exception: pass", ["m"]),
        ("def f():\n  with contextlib.suppress(Exception): pass", ["m::f"]),
        ("def f():\n  try: pass\n  except BaseException: g()", ["m::f"]),
        ("try: pass\nexcept BaseException:\n  f()\n  raise", []),
        ("try: pass\nexcept OSError: pass", []),
    ],
)
def test_broad_handler_is_seen(code: str, expected: list[str]) -> None:
    """The rule sees every way to catch everything, and no other handler."""

    assert expected == list(_broad_places(ast.parse(code), "m"))

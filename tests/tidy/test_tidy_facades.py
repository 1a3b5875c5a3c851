"""Rules about what a package shows."""

import ast
import importlib
import inspect
from collections.abc import Mapping
from types import ModuleType

import pytest

FACADES = ["objstore_log", "objstore_watch", "objstore"]


def _facade(name: str) -> ModuleType:
    return importlib.import_module(name)


def _described_constants(trees: Mapping[str, ast.Module]) -> set[str]:
    """Name the module variables that have a string directly below them."""
    return {
        name
        for tree in trees.values()
        for node, below in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
        for name in _assigned_names(node)
    }


def _assigned_names(node: ast.stmt) -> list[str]:
    match node:
        case ast.Assign(targets=targets):
            return [each.id for each in targets if isinstance(each, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case _:
            return []


def _has_docstring(value: object) -> bool:
    """Tell whether a class, function or module says itself what it is."""
    docstring = vars(value).get("__doc__") if isinstance(value, type) else value.__doc__
    # A dataclass without a docstring is given its signature as one.
    generated = isinstance(value, type) and str(docstring).startswith(
        f"{value.__name__}("
    )
    return bool(docstring) and not generated


@pytest.mark.parametrize("facade", FACADES)
def test_facade_names_exist(facade: str) -> None:
    """A facade lists its public names once each, and has them."""
    module = _facade(facade)
    names: list[str] = list(module.__all__)

    assert len(set(names)) == len(names)
    assert [] == [name for name in names if not hasattr(module, name)]


@pytest.mark.parametrize("facade", FACADES)
def test_public_names_are_documented(
    facade: str, trees: Mapping[str, ast.Module]
) -> None:
    """Every public name has a docstring; a constant has a string below it."""
    module = _facade(facade)
    described = _described_constants(trees)
    undocumented: list[str] = []
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isroutine(value) or isinstance(value, type | ModuleType):
            documented = _has_docstring(value)
        else:
            documented = name in described
        if not documented and not name.startswith("__"):
            undocumented.append(name)

    assert [] == undocumented

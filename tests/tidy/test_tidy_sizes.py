"""Limits of sizes; one is raised only with a record in docs/decisions/."""

import ast
import io
import textwrap
import tokenize
from collections.abc import Mapping

import pytest

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

# Faces to other worlds use the object core and are no part of it; test tools that
# ship are counted by themselves.
APART = (
    "log/objstore_log/testing/",
    "objstore/objstore/adapters/",
    "objstore/objstore/cli/",
    "objstore/objstore/s3/",
    "objstore/objstore/server",
    "objstore/objstore/transfer/",
)

NO_CODE = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}


def _text_lines(tree: ast.AST) -> set[int]:
    """Number the lines of strings that stand alone: docstrings of anything."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def _code_lines(text: str) -> int:
    """Count the lines that hold code: no blanks, no comments, no docstrings."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - _text_lines(ast.parse(text)))


def _function_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines from `def` to its end, without its docstring."""
    lines = set(range(function.lineno, (function.end_lineno or function.lineno) + 1))
    if ast.get_docstring(function):
        lines -= _text_lines(function.body[0])
    return len(lines)


def test_functions_are_short(trees: Mapping[str, ast.Module]) -> None:
    """A function has at most 60 lines, its docstring not counted."""
    too_long = [
        f"{path}:{node.lineno} {node.name} has {_function_lines(node)} lines"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and _function_lines(node) > FUNCTION_LINES_MAX
    ]

    assert [] == too_long


def test_files_are_short(sources: Mapping[str, str]) -> None:
    """A file has at most 500 lines, all of them counted."""
    too_long = [
        f"{path} has {len(text.splitlines())} lines"
        for path, text in sources.items()
        if len(text.splitlines()) > FILE_LINES_MAX
    ]

    assert [] == too_long


@pytest.mark.parametrize(
    ("package", "lines_max"),
    [
        ("log/objstore_log/", 8_700),
        ("log/objstore_log/testing/", 1_000),
        ("watch/objstore_watch/", 1_500),
        ("objstore/objstore/", 10_500),
        ("objstore/objstore/transfer/", 2_000),
    ],
)
def test_package_keeps_its_size(
    sources: Mapping[str, str], package: str, lines_max: int
) -> None:
    """A package keeps its size, in lines of code.

    Decisions 0001, 0005, 0008, 0009, 0011, 0012, 0014, 0015 and 0018 say why
    these.
    """
    others = tuple(face for face in APART if face != package)
    lines = sum(
        _code_lines(text)
        for path, text in sources.items()
        if path.startswith(package) and not path.startswith(others)
    )

    assert lines <= lines_max


def test_only_code_is_counted() -> None:
    """Blank lines, comments and docstrings are no lines of code; strings are."""
    text = """\
    'Doc.'

    # why
    x = '''a
    b'''

    def f():
        'Doc.'
        return x  # why
    """

    assert 4 == _code_lines(textwrap.dedent(text))

"""Options that several commands have, with their meaning and their help."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter, Token

from objstore.cli import _values


def _size(_: Any, tokens: tuple[Token, ...]) -> int:
    return _values.size_of(tokens[0].value)


def _limit(_: Any, tokens: tuple[Token, ...]) -> int:
    return _values.limit_of(tokens[0].value)


def _seconds(_: Any, tokens: tuple[Token, ...]) -> float:
    return _values.seconds_of(tokens[0].value)


Size: TypeAlias = Annotated[int, Parameter(converter=_size, n_tokens=1, metavar="SIZE")]
Limit: TypeAlias = Annotated[
    int, Parameter(converter=_limit, n_tokens=1, metavar="SIZE")
]
Seconds: TypeAlias = Annotated[
    float, Parameter(converter=_seconds, n_tokens=1, metavar="DURATION")
]

Yes: TypeAlias = Annotated[bool, Parameter(name=("--yes", "-y"), help="Do not ask.")]
DryRun: TypeAlias = Annotated[
    bool, Parameter(help="Only say what would be done; change nothing.")
]

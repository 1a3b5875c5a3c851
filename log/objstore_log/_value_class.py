"""Values: dataclasses that nobody changes, made at the price of ordinary ones.

A frozen dataclass sets each of its fields through `object.__setattr__`, which takes
six times as long, and a put makes thirty of them. The type checkers refuse a change of
a value as they do for a frozen one; nothing does while the program runs, so that what
users get is frozen in earnest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value_class(made: type[T]) -> type[T]:
    """Make a class a value: its fields are given once, compared and hashed."""
    return dataclass(slots=True, unsafe_hash=True)(made)

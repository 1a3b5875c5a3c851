"""What can stand at the end of a line that is being typed; shells ask at every Tab."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cyclopts import App, Parameter

import objstore
from objstore import ObjStoreError
from objstore.cli._values import prefix_at

_LIMIT: Final = 500
_LOCK_TIMEOUT_S: Final = 0.5

Help: TypeAlias = tuple[str, str]
"""A word and what it means."""
_Groups: TypeAlias = Mapping[str, Mapping[str, str]]


@dataclass(slots=True)
class _Line:
    """What stands before the word that is being typed."""

    path: list[str] = field(default_factory=list[str])
    operands: int = 0
    option: str | None = None
    """The option whose value is being typed."""
    store: str | None = field(default_factory=lambda: os.environ.get("OBJSTORE"))
    is_plain: bool = False
    """Whether `--` has ended the options."""
    options: dict[str, tuple[str, bool]] = field(
        default_factory=dict[str, tuple[str, bool]]
    )
    """The help of each option, and whether it takes a value."""


def complete(root: App, groups: _Groups, arguments: Sequence[str]) -> int:
    """Print what fits: in each line a word, a tab, and its help.

    Args:
        root: the command with all its commands.
        groups: the names of the commands, by the group that they are in.
        arguments: `words` and all words up to the one being typed, or `bash`, the
            line up to the cursor, and what bash takes for the last word of it.
    """
    if arguments[0] == "bash":
        _, text, last = arguments
        words = words_of(text)
        cut = _length_before(words[-1], last)
    else:
        words, cut = list(arguments[1:]), 0
    # There may be no store, or no permission; then nothing fits.
    with suppress(ObjStoreError, OSError):
        for word, text in _fitting(root, groups, words):
            if word.isprintable():
                print(f"{word[cut:]}\t{text}")
    return 0


def words_of(line: str) -> list[str]:
    """Split a line behind its command as a shell does, also inside of quotes."""
    for closing in ("", "'", '"', "\\"):
        with suppress(ValueError):
            words = shlex.split(line + closing)
            is_new = not closing and (line != line.rstrip() or not words)
            return [*words[1:], ""] if is_new or len(words) == 1 else words[1:]
    return [""]


def _length_before(word: str, last: str) -> int:
    """Give the length of what bash does not take for a part of the last word."""
    last = "" if last in {"=", ":"} else (words_of(f"x {last}") or [""])[-1]
    return len(word) - len(last) if word.endswith(last) else 0


def _fitting(root: App, groups: _Groups, words: list[str]) -> Iterator[Help]:
    """Give what the last word can become."""
    *before, word = words
    line = _read(root, groups, before)
    group = groups.get(" ".join(line.path))
    name, equals, value = word.partition("=")
    if line.option is not None:
        yield from _values(line, line.option, word)
    elif word.startswith("-") and not line.is_plain and word != "-":
        if equals:
            for each, text in _values(line, name, value):
                yield f"{name}={each}", text
        else:
            found = ((each, text) for each, (text, _) in line.options.items())
            yield from _beginning(word, found)
    elif group is not None:
        # Of the table of groups, the one without a name has all the others in it.
        names = [*group, *(name for name in groups if name and not line.path)]
        yield from _beginning(word, ((name, "") for name in names))
    else:
        kinds = _OPERANDS.get(" ".join(line.path), ())
        for kind in kinds[min(line.operands, len(kinds) - 1) :][:1]:
            yield from kind(word, line.store)


def _read(root: App, groups: _Groups, words: list[str]) -> _Line:
    line = _Line(options=_options_of(root.meta))
    node = root
    for word in words:
        name, equals, value = word.partition("=")
        if line.option is not None:
            line.store = word if line.option == "--store" else line.store
            line.option = None
        elif word == "--":
            line.is_plain = True
        elif word.startswith("-") and word != "-" and not line.is_plain:
            line.store = value if equals and name == "--store" else line.store
            takes_value = line.options.get(name, ("", False))[1]
            line.option = name if takes_value and not equals else None
        elif word in groups.get(" ".join(line.path), {}) or (
            word in groups and not line.path
        ):
            node = node[word]
            line.path.append(word)
            line.options = {**_options_of(node), **line.options}
        else:
            line.operands += 1
    return line


def _options_of(app: App) -> dict[str, tuple[str, bool]]:
    if app.default_command is None:
        return {}
    # As in `_app`: no option has a `--no-` twin.
    found = app.assemble_argument_collection(
        default_parameter=Parameter(negative=()), parse_docstring=False
    )
    return {
        name: (argument.parameter.help or "", argument.token_count()[0] > 0)
        for argument in found
        if argument.show
        for name in argument.names
        if name.startswith("--")
    } | {"--help": ("Display this message and exit.", False)}


def _beginning(word: str, found: Iterator[Help]) -> Iterator[Help]:
    return (each for each in found if each[0].startswith(word))


def _values(line: _Line, option: str, word: str) -> Iterator[Help]:
    """Give what an option's value can become."""
    if option in {"--store", "--keep"}:
        yield from _directories(word, None)
    command = line.path[-1] if line.path else ""
    known = _VALUES.get((command, option), ())
    # Kinds are a list with commas.
    head, comma, tail = word.rpartition(",")
    for value in known:
        if value.startswith(tail):
            yield f"{head}{comma}{value}", ""


def _files(word: str, store: str | None) -> Iterator[Help]:
    del store
    folder, name = os.path.split(word)
    with os.scandir(os.path.expanduser(folder) or ".") as entries:  # noqa: PTH111 - text all the way
        for entry in sorted(entries, key=lambda entry: entry.name):
            is_hidden = entry.name.startswith(".") and not name.startswith(".")
            if entry.name.startswith(name) and not is_hidden:
                slash = "/" if entry.is_dir() else ""
                yield f"{os.path.join(folder, entry.name)}{slash}", ""  # noqa: PTH118 - the same


def _directories(word: str, store: str | None) -> Iterator[Help]:
    return (each for each in _files(word, store) if each[0].endswith("/"))


def _buckets(word: str, store: str | None) -> Iterator[Help]:
    with objstore.open(
        store or None,
        create=False,
        retention_interval=None,
        lock_timeout=_LOCK_TIMEOUT_S,
    ) as opened:
        for name in opened.object_store_names():
            if name.startswith(word):
                yield name, "bucket"


def _objects(word: str, store: str | None) -> Iterator[Help]:
    if "/" not in word:
        for name, text in _buckets(word, store):
            yield f"{name}/", text
        return
    at = prefix_at(word)
    with objstore.open(
        store or None,
        create=False,
        retention_interval=None,
        lock_timeout=_LOCK_TIMEOUT_S,
    ) as opened:
        bucket = opened.object_store(at.bucket)
        page = bucket.list_directory(at.name, limit=_LIMIT)
        for name in sorted([*page.prefixes, *(info.name for info in page.objects)]):
            yield f"{at.bucket}/{name}", ""


def _files_and_objects(word: str, store: str | None) -> Iterator[Help]:
    with suppress(ObjStoreError, OSError):
        yield from _files(word, store)
    yield from _objects(word, store)


def _shells(word: str, store: str | None) -> Iterator[Help]:
    del store
    return _beginning(word, ((name, "") for name in ("bash", "zsh", "fish")))


def _nothing(word: str, store: str | None) -> Iterator[Help]:
    del word, store
    return iter(())


_VALUES: Final = {
    ("watch", "--start"): ("current", "new", "all"),
    ("watch", "--kinds"): ("put", "delete", "meta", "link", "expire", "seal", "config"),
    ("create", "--sync"): ("always", "never"),
    ("edit", "--sync"): ("always", "never"),
}
_Kind: TypeAlias = Callable[[str, str | None], Iterator[Help]]
_OPERANDS: Final[dict[str, tuple[_Kind, ...]]] = {
    # The last one stands for all that follow.
    "put": (_files, _files_and_objects),
    "get": (_objects, _files, _nothing),
    "cat": (_objects, _nothing),
    "ls": (_objects, _nothing),
    "info": (_objects, _nothing),
    "rm": (_objects,),
    "cp": (_objects, _objects, _nothing),
    "mv": (_objects, _objects, _nothing),
    "ln": (_objects, _objects, _nothing),
    "watch": (_objects, _nothing),
    "verify": (_objects, _nothing),
    "demo": (_directories, _nothing),
    "completion": (_shells, _nothing),
    "bucket info": (_buckets, _nothing),
    "bucket edit": (_buckets, _nothing),
    "bucket rm": (_buckets, _nothing),
    "bucket seal": (_buckets, _nothing),
}

"""Names of objects as paths of files, and back. Pure.

A name is cut at its slashes. What no part of a path may be is written otherwise:

    %                       %25
    . and .. alone          %2E and %2E.
    .objstore-...           %2Eobjstore-...     (that is what this library writes)
    an empty part           %
    more than 200 bytes     pieces, each a directory, all but the last ending in %+
    a file whose path is    the same with % behind it
    that of a directory

A lone % at the end of a part adds nothing to the name. So every name has its paths, and
every path that was made here has one name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

PART_BYTES_MAX: Final = 200
OWN_PREFIX: Final = ".objstore-"
_ESCAPE: Final = re.compile("%([0-9A-F]{2})")
_TOKEN: Final = re.compile("%[0-9A-F]{2}|.", re.DOTALL)
_GOES_ON: Final = "%+"
_NOTHING: Final = "%"


def parts_of(name: str) -> tuple[str, ...]:
    """Give the parts of the path that a name has."""
    return tuple(piece for part in name.split("/") for piece in _pieces(part))


def beside_directory(parts: Sequence[str]) -> tuple[str, ...]:
    """Give the other path of a name, for when the first is that of a directory."""
    return (*parts[:-1], parts[-1] + _NOTHING)


def name_of(parts: Sequence[str]) -> str:
    """Give the name that a path stands for."""
    pieces: list[str] = []
    for part in parts:
        goes_on = part.endswith(_GOES_ON)
        text = part.removesuffix(_GOES_ON) if goes_on else part.rstrip("%")
        pieces.append(_ESCAPE.sub(lambda found: chr(int(found[1], 16)), text))
        if not goes_on:
            pieces.append("/")
    return "".join(pieces[:-1])


def _pieces(part: str) -> list[str]:
    if not part:
        return [_NOTHING]
    tokens: list[str] = _TOKEN.findall(part.replace("%", "%25"))
    pieces: list[str] = []
    piece, size = "", 0
    for token in tokens:
        length = len(token.encode())
        if size + length > PART_BYTES_MAX:
            pieces.append(_plain(piece) + _GOES_ON)
            piece, size = "", 0
        piece += token
        size += length
    return [*pieces, _plain(piece)]


def _plain(piece: str) -> str:
    """Give a piece as one that means no directory above and no file of our own."""
    if piece in {".", ".."} or piece.startswith(OWN_PREFIX):
        return f"%2E{piece[1:]}"
    return piece

"""The commands about the command itself."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Final, Literal

from objstore.cli._context import Shared

# Each asks the command what fits, so that buckets and objects are completed, too, and
# a new option needs no new script. What ends in a slash goes on: no space behind it.
_SCRIPTS: Final = {
    "bash": """\
_objstore() {
    local word
    COMPREPLY=()
    while IFS=$'\\t' read -r word _; do
        COMPREPLY+=("$word")
    done < <(command "$1" __complete bash "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)
    compopt -o filenames
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]]; then
        compopt -o nospace
    fi
}
complete -o nosort -F _objstore objstore
""",
    "zsh": """\
#compdef objstore
_objstore() {
    local line word
    local -a typed whole whole_help parts
    (( CURRENT > 2 )) && typed=("${(@Q)words[2,CURRENT-1]}")
    typed+=("${(Q)PREFIX}")
    for line in "${(@f)$(command "${(Q)words[1]}" __complete words "${typed[@]}" \
        2>/dev/null)}"; do
        word="${line%%$'\\t'*}"
        if [[ "$word" == */ ]]; then
            parts+=("$word")
        elif [[ -n "$word" ]]; then
            whole+=("$word")
            whole_help+=("${word}${${line#*$'\\t'}:+  -- ${line#*$'\\t'}}")
        fi
    done
    (( $#whole )) && compadd -l -d whole_help -- "${whole[@]}"
    (( $#parts )) && compadd -S '' -- "${parts[@]}"
    (( $#whole + $#parts ))
}
if [[ "$funcstack[1]" == _objstore ]]; then
    _objstore "$@"
else
    compdef _objstore objstore
fi
""",
    "fish": """\
function __objstore_complete
    set -l typed (commandline -opc)
    set -l word (commandline -ct | string unescape)
    command $typed[1] __complete words $typed[2..] "$word" 2>/dev/null
end
complete --command objstore --no-files --keep-order \\
    --arguments '(__objstore_complete)'
""",
}


def version(*, context: Shared) -> None:
    """Tell the version."""
    from objstore.cli._app import DISTRIBUTION

    number = metadata.version(DISTRIBUTION)
    document = {"version": number, "python": platform.python_version()}
    context.emit(document, [f"objstore {number}"])


def completion(shell: Literal["bash", "zsh", "fish"], /, *, context: Shared) -> None:
    """Print a shell's completion script.

    For bash and zsh put `source <(objstore completion bash)` into the shell's start
    file, for fish `objstore completion fish | source`.
    """
    script = _SCRIPTS[shell]
    context.emit({"shell": shell, "script": script}, [script.rstrip("\n")])

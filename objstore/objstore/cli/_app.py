"""The command line's table of commands, and how one is run.

Commands are named by where they are: only the module of the one that runs is loaded.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from inspect import Parameter as InspectedParameter
from typing import Annotated, TypeAlias, cast

from cyclopts import (
    App,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    UnusedCliTokensError,
)

from objstore import ObjStoreError
from objstore.cli._context import LOCK_TIMEOUT_S, STANDARD_OUTPUT, Context
from objstore.cli._failures import (
    BROKEN_PIPE,
    USAGE,
    CommandError,
    about,
    report,
    report_interruption,
    say,
)
from objstore.cli._options import Seconds

DISTRIBUTION = "objstore-embedded"
STORE_VARIABLE = "OBJSTORE"

# To cyclopts a single dash is an option without a name. No argument of a process can
# hold a NUL, so this stands for the dash until the arguments are parsed.
_DASH = "\0"

_COMMANDS = {
    "put": "_put:put",
    "get": "_get:get",
    "cat": "_get:cat",
    "ls": "_list:ls",
    "info": "_list:info",
    "rm": "_remove:rm",
    "cp": "_names:cp",
    "mv": "_names:mv",
    "ln": "_names:ln",
    "watch": "_watch:watch",
    "verify": "_space:verify",
    "backup": "_backup:backup",
    "export": "_export:export",
    "import": "_export:import_",
    "demo": "_demo:demo",
    "completion": "_about:completion",
    "version": "_about:version",
}
_GROUPS = {
    "bucket": {
        "create": "_bucket:create",
        "ls": "_bucket:ls",
        "info": "_bucket:info",
        "edit": "_bucket:edit",
        "rm": "_bucket:rm",
        "seal": "_bucket:seal",
    },
    "retention": {"run": "_space:run"},
}
# The completion scripts ask with it; it is no command of people's.
_COMPLETE = "__complete"

_Work: TypeAlias = Callable[[], int | None]
"""A command with its arguments."""


def _version() -> str:
    from importlib.metadata import version

    return version(DISTRIBUTION)


def _group(name: str, text: str, commands: dict[str, str]) -> App:
    group = App(
        name=name,
        help=text,
        version=_version,
        # A flag is off unless it is given; no `--no-` twin crowds the help.
        default_parameter=Parameter(negative=(), show_default=False),
        # Loading what renders rich text takes as long as all the rest.
        help_format="plaintext",
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
    )
    for command, place in commands.items():
        group.command(f"objstore.cli.{place}", name=command)
    return group


app = _group(
    "objstore", "Keep objects in one directory, and follow their changes.", _COMMANDS
)
app.command(_group("bucket", "Make, change and remove buckets.", _GROUPS["bucket"]))
app.command(
    _group("retention", "Give the space of what is gone back.", _GROUPS["retention"])
)

# An interruption is told as every end is; see `run`.
app.meta.suppress_keyboard_interrupt = False


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    store: Annotated[
        str | None,
        Parameter(
            env_var=STORE_VARIABLE,
            help="Directory of the store; ./objstore-data unless given.",
        ),
    ] = None,
    json: Annotated[bool, Parameter(help="Answer with one JSON document.")] = False,
    lock_timeout: Annotated[
        Seconds,
        Parameter(
            help="How long a change waits for another process; a minute unless given."
        ),
    ] = LOCK_TIMEOUT_S,
) -> _Work:
    """Take the options that all commands share; give the command, ready to run."""
    command, bound, ignored = app.parse_args(tokens)
    for name, value in bound.arguments.items():
        bound.arguments[name] = _undashed(value)
    if "context" in ignored:
        if store == "" == os.environ.get(STORE_VARIABLE):
            # an empty variable is none; an empty --store is refused when it is opened
            store = None
        bound.arguments["context"] = Context(store, json, lock_timeout)
    return partial(command, *bound.args, **bound.kwargs)


def _undashed(value: object) -> object:
    """Give a parsed argument with the dashes that were meant."""
    if value == _DASH:
        return "-"
    if isinstance(value, tuple):
        return tuple(_undashed(each) for each in cast("tuple[object, ...]", value))
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value)]
        return replace(
            value, **{name: _undashed(getattr(value, name)) for name in names}
        )
    return value


def _shows_help(arguments: Sequence[str]) -> bool:
    """Tell whether the answer may be a help, of one command or a list of them."""
    asking = {"--help", "-h"}
    return not arguments or arguments[-1] in _GROUPS or not asking.isdisjoint(arguments)


def _load_commands(group: App, path: str) -> None:
    """Load all commands: their help stands in their docstrings."""
    for name, command in group.resolved_commands().items():
        _load_commands(command, f"{path} {name}")
        # A group is none, and to cyclopts the flag for help is one.
        if command.default_command is not None and not name.startswith("-"):
            words = (path, name, "[OPTIONS]", *_operands(command))
            command.usage = f"Usage: {' '.join(words)}"


def _operands(command: App) -> Iterator[str]:
    """Give what a command takes beside its options, as its usage shows it."""
    for argument in command.assemble_argument_collection(parse_docstring=False):
        if argument.show and argument.index is not None:
            # A command that takes several words needs one at least, and says so.
            takes_several = (
                argument.field_info.kind is InspectedParameter.VAR_POSITIONAL
            )
            is_needed = argument.required or takes_several
            yield argument.name if is_needed else f"[{argument.name}]"


def _load(arguments: Sequence[str]) -> _Work | None:
    """Load what the arguments ask for; `None` where that was to show a help."""
    if arguments[:1] == [_COMPLETE]:
        from objstore.cli._complete import complete

        return partial(complete, app, {"": _COMMANDS, **_GROUPS}, arguments[1:])
    if _shows_help(arguments):
        _load_commands(app, app.name[0])
    work: _Work | None = app.meta(
        [_DASH if argument == "-" else argument for argument in arguments]
    )
    return work


def _report_usage(error: CycloptsError) -> int:
    """Say what is wrong with the arguments, and where to read more."""
    text = " ".join(_text_of(error).replace(_DASH, "-").split())
    text = text if text.endswith("...") else text.removesuffix(".")
    command = " ".join([app.name[0], *(error.command_chain or ())])
    say(f"{text}; see: {command} --help")
    return USAGE


def _text_of(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        return f"too many arguments: {' '.join(error.unused_tokens or ())}"
    if isinstance(error, MissingArgumentError):
        argument = error.argument
        if argument is not None and argument.index is not None:
            return f"{argument.name} is missing"
    return str(error)


def run(
    arguments: Sequence[str], *, on_loaded: Callable[[], object] | None = None
) -> int:
    """Run a command; give its exit status. Everything that fails is told here.

    Args:
        arguments: What stands behind the command's name.
        on_loaded: Called when all is loaded, before anything is done.
    """
    # A name that the terminal cannot show is no reason to fail.
    cast("io.TextIOWrapper", sys.stdout).reconfigure(errors="backslashreplace")
    try:
        work = _load(arguments)
        if on_loaded is not None:
            on_loaded()
        status = (work() if work is not None else None) or 0
        with about(STANDARD_OUTPUT):
            sys.stdout.flush()
    except KeyboardInterrupt as error:
        status = report_interruption(error)
    except BrokenPipeError:
        status = BROKEN_PIPE
    except CycloptsError as error:
        status = _report_usage(error)
    except (CommandError, ObjStoreError, OSError) as error:
        status = report(error)
    if status:
        _drop_output()
    return status


def _drop_output() -> None:
    """Let what cannot be written be forgotten, not be tried again at the exit."""
    try:
        sys.stdout.flush()
    except OSError:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)

"""The command `objstore`; needs the extra `[cli]` and says so without it."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

NEEDED = ("cyclopts", "rich")
"""What the extra brings."""


def main() -> int:
    """Run the command that the process was started with; give its exit status."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        print(
            f"objstore: the command line needs {' and '.join(missing)}; install it "
            'with: pip install "objstore-embedded[cli]"',
            file=sys.stderr,
        )
        return 1
    try:
        return _run(sys.argv[1:])
    except KeyboardInterrupt:
        # It came while modules were loaded, or behind the end.
        print("objstore: interrupted", file=sys.stderr)
        return 130


def _run(arguments: list[str]) -> int:
    from objstore.cli._failures import (
        install_bug_report,
        install_signals,
        install_warnings,
        open_closed_streams,
        remove_signals,
    )

    open_closed_streams()
    install_bug_report()
    install_warnings()
    from objstore.cli._app import run

    status = run(arguments, on_loaded=install_signals)
    remove_signals()
    return status

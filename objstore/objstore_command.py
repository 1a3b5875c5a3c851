"""Where the command `objstore` begins: Ctrl-C while it is being loaded ends it quietly.

No part of the package `objstore`, whose own loading is what takes long.
"""

import signal


def main() -> int:
    """Load and run the command; give its exit status."""
    # One that is ignored, as under nohup, stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # `objstore.cli` puts Python's handler back when all is loaded.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from objstore.cli import main as run  # noqa: PLC0415 - not before this moment

    return run()

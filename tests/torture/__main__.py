"""`python -m tests.torture`: run campaigns until the time is over.

The seed is printed first. It decides every workload and every plan of faults; at which
instruction a fault meets a process is up to the machine.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from tests.torture.campaigns import CAMPAIGNS
from tests.torture.frame import SEED_MAX, Campaign, run_campaigns, say

MINUTES = 30.0
VIOLATED, INTERRUPTED = 1, 130


def _terminate(number: int, _: FrameType | None) -> None:
    """End as by Ctrl-C, so that everything is unmounted."""
    sys.exit(128 + number)


def main(arguments: Sequence[str], campaigns: Sequence[Campaign] = CAMPAIGNS) -> int:
    """Run what the arguments select; give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    minutes = float(os.environ.get("TORTURE_MINUTES") or MINUTES)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(SEED_MAX))
    names = [campaign.name for campaign in campaigns]
    parser.add_argument("--only", choices=names, action="append", metavar="NAME")
    chosen = parser.parse_args(arguments)
    only = chosen.only or names
    say(f"torture: seed {chosen.seed}, {chosen.minutes:g} minutes")
    rows = [campaign for campaign in campaigns if campaign.name in only]
    try:
        held = run_campaigns(rows, chosen.seed, chosen.minutes * 60)
    except KeyboardInterrupt:
        say(f"torture: interrupted, seed {chosen.seed}")
        return INTERRUPTED
    say(f"torture: {'all held' if held else 'VIOLATED'}, seed {chosen.seed}")
    return 0 if held else VIOLATED


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main(sys.argv[1:]))

"""`python -m tests.prove`: the same faults for us and for the peers, and the losses.

The seed is printed first. It decides the workload and every plan of faults; at which
instruction a fault meets a process is up to the machine.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tests.prove.campaign import SEED_MAX, Campaign, say
from tests.prove.faults import BY_NAME as FAULTS
from tests.prove.faults import Fault
from tests.prove.peers import BY_NAME as PEERS
from tests.prove.peers import Peer
from tests.prove.report import as_markdown, as_text, spliced

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "durability.md"
RESULT = ROOT / "tests" / "prove" / "result.json"
MINUTES = 7.0
BROKEN, INTERRUPTED = 1, 130
OURS = "objstore"


def selected(only: Sequence[str]) -> list[tuple[Fault, list[Peer]]]:
    """Say which peers meet which faults.

    Args:
        only: `PEER`, `FAULT` or `PEER/FAULT`; nothing means everything.

    Raises:
        ValueError: there is no such name.
    """
    for name in only:
        unknown = set(name.split("/")) - set(PEERS) - set(FAULTS)
        if unknown:
            known = ", ".join([*PEERS, *FAULTS])
            raise ValueError(f"no peer or fault {min(unknown)!r}; there are {known}")
    plan: list[tuple[Fault, list[Peer]]] = []
    for fault in FAULTS.values():
        peers = [
            peer
            for peer in PEERS.values()
            if peer.missing() is None
            and (peer.flips or not fault.rests)
            and (not only or any(_is_meant(name, fault, peer) for name in only))
        ]
        if peers:
            plan.append((fault, peers))
    return plan


def _is_meant(name: str, fault: Fault, peer: Peer) -> bool:
    return set(name.split("/")) <= {fault.name, peer.name}


def told(campaign: Campaign) -> list[str]:
    """Say what was run, for the documentation."""
    versions = ", ".join(f"{name} {text}" for name, text in campaign.versions().items())
    lines = [
        f"Seed {campaign.seed}, {campaign.rounds} rounds in {campaign.took_s:.0f} s.",
        f"{versions}.",
    ]
    if campaign.problems:
        lines.append(f"{campaign.problems} faults could not be brought about.")
    return lines


def holds(campaign: Campaign) -> bool:
    """Say whether this project kept its promises, in its default settings."""
    for fault, verdicts in campaign.verdicts.items():
        verdict = verdicts.get(OURS)
        if verdict is None:
            continue
        is_at_rest = FAULTS[fault].rests
        bad = verdict.silent or verdict.trials_unopened
        if bad or (verdict.lost and not is_at_rest):
            return False
    return campaign.problems == 0


def _terminate(number: int, _: FrameType | None) -> None:
    """End as by Ctrl-C, so that everything is unmounted."""
    sys.exit(128 + number)


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments select; give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.prove")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(SEED_MAX))
    parser.add_argument("--only", action="append", default=[], metavar="PEER/FAULT")
    parser.add_argument("--json", type=Path, default=RESULT, metavar="FILE")
    parser.add_argument(
        "--publish", action="store_true", help="write the tables into the documentation"
    )
    chosen = parser.parse_args(arguments)
    try:
        plan = selected(chosen.only)
    except ValueError as error:
        parser.error(str(error))
    say(f"prove: seed {chosen.seed}, {chosen.minutes:g} minutes")
    for peer in PEERS.values():
        if (reason := peer.missing()) is not None:
            say(f"{peer.name}: SKIPPED: {reason}; pip install '.[prove]'")
    campaign = Campaign(plan, chosen.seed)
    try:
        campaign.run(chosen.minutes * 60)
    except KeyboardInterrupt:
        say(f"prove: interrupted, seed {chosen.seed}")
        return INTERRUPTED
    _write(campaign, chosen.json, is_published=chosen.publish)
    held = holds(campaign)
    was_tried = any(peer.name == OURS for peer in campaign.peers())
    verdict = f"{OURS} held" if was_tried else "done"
    say(f"prove: {verdict if held else 'BROKEN'}, seed {chosen.seed}")
    return 0 if held else BROKEN


def _write(campaign: Campaign, path: Path, *, is_published: bool) -> None:
    """Print the tables, and write them to where they are kept."""
    tables = campaign.tables()
    for table in tables:
        say(f"\n{as_text(table)}")
    path.write_text(json.dumps(campaign.result(), indent=1) + "\n", encoding="utf-8")
    if is_published:
        settings = {peer.name: peer.settings for peer in campaign.peers()}
        section = as_markdown(tables, settings, told(campaign))
        document = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(spliced(document, section), encoding="utf-8")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main(sys.argv[1:]))

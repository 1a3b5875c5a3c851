"""The tables of `make prove`, and where they are published."""

from __future__ import annotations

import pytest
from tests.prove.__main__ import DOCUMENT, selected
from tests.prove.judge import Verdict
from tests.prove.report import BEGIN, END, Table, as_markdown, as_text, spliced

VERDICT = Verdict(trials=4, objects=90, lost=7, silent=5, wrong=2, named=1, told=1)
TABLE = Table("Power cut", {"peer": VERDICT})


def test_table_has_a_cell_for_each_column() -> None:
    """Every row is as long as its header, with and without the full disk's columns."""
    for table in (TABLE, Table("Full", {"peer": VERDICT}, is_full_disk=True)):
        assert {len(table.header())} == {len(row) for row in table.rows()}
    assert TABLE.rows()[0][:5] == ["peer", "4", "90", "7", "5"]


def test_skipped_fault_says_why() -> None:
    """A fault that this machine cannot have is named in both forms."""
    table = Table("Power cut", {}, skipped="needs root")

    assert "SKIPPED: needs root" in as_text(table)
    assert "Skipped: needs root." in as_markdown([table], {}, [])


def test_section_replaces_the_one_between_the_markers() -> None:
    """Publishing again changes what is between the markers alone."""
    section = as_markdown([TABLE], {"peer": "synced"}, ["Seed 1."])
    before = f"# Top\n\n{BEGIN}\nold\n{END}\n\nafter\n"
    once = spliced(before, section)

    assert once == f"# Top\n\n{section}\n\nafter\n"
    assert spliced(once, section) == once
    with pytest.raises(ValueError, match="prove: begin"):
        spliced("# Top\n", section)


def test_selection_is_by_peer_fault_or_both() -> None:
    """`--only` takes a peer, a fault, or one of each; a wrong name is an error."""
    plan = {
        fault.name: [peer.name for peer in peers]
        for fault, peers in selected(["files", "sqlite-full/kill"])
    }

    assert plan["kill"] == ["sqlite-full", "files"]
    assert plan["power-cut-xfs"] == ["files"]
    assert "bit-flip" not in plan
    with pytest.raises(ValueError, match="'fils'"):
        selected(["fils"])


def test_published_tables_are_between_their_markers() -> None:
    """The documentation has the place that `--publish` writes to, once."""
    text = DOCUMENT.read_text(encoding="utf-8")

    assert (text.count(BEGIN), text.count(END)) == (1, 1)
    assert text.index(BEGIN) < text.index(END)

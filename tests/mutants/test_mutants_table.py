"""The table of planted faults, its patches and what is published of it."""

from __future__ import annotations

from tests.mutants.faults import FOLDER, HEADING, PAGE, load, published


def test_every_patch_has_its_row() -> None:
    """A patch that nobody runs proves nothing, a row without one neither."""
    assert {path.stem for path in FOLDER.glob("*.patch")} == set(load())


def test_published_table_is_the_table() -> None:
    """The page says what `make mutants` runs."""
    _, _, section = PAGE.read_text().partition(f"{HEADING}\n")
    section, _, _ = section.partition("\n## ")
    assert published(list(load().values())) in f"{section}\n"

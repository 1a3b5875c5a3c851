"""One flipped byte, anywhere in a small store: nothing is lost in silence.

At most one stored content is lost by it, every name that shares that content says so
and is reported, and everything else is readable and can be written to.
"""

from __future__ import annotations

import logging
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import objstore

from .crash_world import Images
from .flip_store import (
    Known,
    Original,
    Place,
    build,
    check,
    files_of,
    fill,
    flipped,
    make_small_and_repeatable,
    open_flipped,
)

WHOLE = 0xFF
SHORT_STRIDE = 41
SHORT_CATALOG_STRIDE = 523
SHORT_FILE_STRIDE = 2_003
LONG_STRIDE = 1
LONG_CATALOG_STRIDE = 127
LONG_FILE_STRIDE = 509
"""Of two flips in a row; what is skipped by one mask is not always by the others."""


@pytest.fixture(autouse=True)
def small_and_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use small slabs, and no thread beside the test's own."""
    make_small_and_repeatable(monkeypatch)
    monkeypatch.setattr(logging.getLogger("objstore"), "disabled", True)


@pytest.fixture(scope="module")
def original() -> Original:
    """Give the store as it was before."""
    with pytest.MonkeyPatch.context() as patch:
        make_small_and_repeatable(patch)
        return build()


def _flips(
    original: Original, masks: list[int], stride: int
) -> Iterator[tuple[Place, int, int]]:
    """Give places, positions and masks, another part of the bytes with each mask."""
    for start, mask in enumerate(masks):
        for place, content in original.files.items():
            first = start * stride // len(masks)
            for position in range(first, len(content), stride):
                yield place, position, mask


def _flip_all(
    original: Original, masks: list[int], stride: int, *, has_catalog: bool
) -> tuple[int, int]:
    """Check every flip; count them and those that cost something."""
    flips = losses = 0
    images: Images = original.images if has_catalog else {}
    for place, position, mask in _flips(original, masks, stride):
        try:
            store = open_flipped(flipped(original, place, position, mask), images)
            seen = check(store, original.known, has_catalog=has_catalog)
            store.close()
        except BaseException as error:
            error.add_note(f"{place}, byte {position} xor {mask:#x}")
            raise
        flips += 1
        losses += bool(seen.lost or seen.stale)
    return flips, losses


def _report(capsys: pytest.CaptureFixture[str], flips: int, losses: int) -> None:
    with capsys.disabled():
        sys.stdout.write(f" {flips} flips, {losses} with a loss")


def _bits(count: int) -> list[int]:
    return [1 << bit for bit in range(count)]


@pytest.mark.parametrize("has_catalog", [True, False])
def test_a_flipped_byte_costs_one_content_at_most(
    original: Original, capsys: pytest.CaptureFixture[str], *, has_catalog: bool
) -> None:
    """Anywhere in the log's files, with and without the catalogs from before."""
    flips, losses = _flip_all(original, [WHOLE], SHORT_STRIDE, has_catalog=has_catalog)

    assert 0 < losses < flips
    _report(capsys, flips, losses)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("has_catalog", [True, False])
def test_every_flipped_byte_costs_one_content_at_most(
    original: Original, capsys: pytest.CaptureFixture[str], *, has_catalog: bool
) -> None:
    """Each byte of each file, one at a time."""
    stride = LONG_STRIDE if has_catalog else 8
    flips, losses = _flip_all(original, [WHOLE], stride, has_catalog=has_catalog)

    _report(capsys, flips, losses)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_flipped_bits_cost_one_content_at_most(
    original: Original, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bit instead of a whole byte, over a sample of the bytes."""
    flips, losses = _flip_all(original, _bits(8), 61, has_catalog=True)

    _report(capsys, flips, losses)


def _flip_catalogs(original: Original, stride: int) -> int:
    """Flip bytes in the image of each catalog; nothing may come of it."""
    flips = 0
    chance = random.Random(1)
    clean = flipped(original, Place((), "none"), 0, 0)
    assert clean.names() == ["STORE", "STORE.lock", "logs"]
    for identity, image in original.images.items():
        for start in range(0, len(image), stride):
            position = min(start + chance.randrange(stride), len(image) - 1)
            data = bytearray(image)
            data[position] ^= chance.choice([WHOLE, *_bits(8)])
            images = {**original.images, identity: bytes(data)}
            try:
                storage = flipped(original, Place((), "none"), 0, 0)
                store = open_flipped(storage, images)
                seen = check(store, original.known, has_catalog=True)
                store.close()
            except BaseException as error:
                error.add_note(f"catalog {identity.hex()}, byte {position}")
                raise
            assert not seen.lost
            flips += 1
    return flips


def test_a_flipped_byte_in_a_catalog_costs_nothing(
    original: Original, capsys: pytest.CaptureFixture[str]
) -> None:
    """A catalog is only a cache."""
    flips = _flip_catalogs(original, SHORT_CATALOG_STRIDE)

    _report(capsys, flips, 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_flipped_bytes_in_catalogs_cost_nothing(
    original: Original, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same at more places."""
    flips = _flip_catalogs(original, LONG_CATALOG_STRIDE)

    _report(capsys, flips, 0)


def _flip_on_disk(path: Path, stride: int) -> int:
    """Flip bytes of the files of a store in a real directory."""
    with objstore.open(path / "store") as store:
        known: Known = fill(store)
        for bucket in store.object_store_names():
            status = store.object_store(bucket).status()
            known.sequences[bucket] = status.last_sequence
    flips = 0
    copy = path / "copy"
    for file in files_of(path / "store"):
        for position in range(flips % stride % 100, file.stat().st_size, stride):
            shutil.copytree(path / "store", copy)
            target = copy / file.relative_to(path / "store")
            data = bytearray(target.read_bytes())
            data[position] ^= WHOLE
            target.write_bytes(data)
            try:
                with objstore.open(copy) as store:
                    seen = check(store, known, has_catalog=True)
            except BaseException as error:
                error.add_note(f"{file.relative_to(path)}, byte {position}")
                raise
            is_cache = file.suffix == ".sqlite" or file.name == "head"
            assert not (is_cache and seen.lost)
            shutil.rmtree(copy)
            flips += 1
    return flips


def test_a_flipped_byte_on_disk_costs_one_content_at_most(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real files, those of the catalogs among them."""
    _report(capsys, _flip_on_disk(tmp_path, SHORT_FILE_STRIDE), 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_flipped_bytes_on_disk_cost_one_content_at_most(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same at more places."""
    _report(capsys, _flip_on_disk(tmp_path, LONG_FILE_STRIDE), 0)

"""Files of a store on a disk that are not what they should be.

A directory in the place of a file, a symbolic link, a file that may not be read: the
store opens without it or says what is wrong, with a documented error, and whatever was
put there is left alone: when the file is back, everything is as it was.
"""

from __future__ import annotations

import codecs
import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.torture.rot_store import FOLDERS, REGISTRY, Place, Sample

import objstore
from objstore.blocking import Store
from objstore.errors import ObjectNotFoundError, ObjStoreError, StorageError

NOBODY = 65_534
"""A user that may do nothing, for what root may always do."""


class Oddity(NamedTuple):
    """Something that is put in the place of a file."""

    name: str
    put: Callable[[Path, Path], None]
    """Takes the place and where the file was put aside."""
    is_refused: bool = False
    """It is the permissions that make it odd."""


def _folder(place: Path, _: Path) -> None:
    place.mkdir()


def _full_folder(place: Path, _: Path) -> None:
    place.mkdir()
    (place / "something").write_bytes(b"of somebody else")


def _link(place: Path, aside: Path) -> None:
    place.symlink_to(aside)


def _dangling(place: Path, _: Path) -> None:
    place.symlink_to(place.parent / "nowhere")


def _unreadable(place: Path, aside: Path) -> None:
    shutil.copyfile(aside, place)
    place.chmod(0)


def _read_only(place: Path, aside: Path) -> None:
    shutil.copyfile(aside, place)
    place.chmod(stat.S_IRUSR)


ODDITIES = (
    Oddity("a folder", _folder),
    Oddity("a folder with a file", _full_folder),
    Oddity("a link to the file", _link),
    Oddity("a link to nowhere", _dangling),
    Oddity("a file that may not be read", _unreadable, is_refused=True),
    Oddity("a file that may not be written", _read_only, is_refused=True),
)


def unpack(sample: Sample, target: Path) -> None:
    """Put a store on the disk."""
    for place, data in sample.now.files.items():
        folder = target.joinpath(*place.folders)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / place.name).write_bytes(data)


@contextmanager
def as_nobody(*, wanted: bool) -> Generator[None]:
    """Be a user to whom permissions mean something."""
    if os.geteuid() or not wanted:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def _give_away(path: Path) -> None:
    if not os.geteuid():
        for found in (path, *path.rglob("*")):
            os.chown(found, NOBODY, NOBODY, follow_symlinks=False)


def _contents(store: Store, sample: Sample) -> Iterator[tuple[str, str, object]]:
    """Give what each name shows: bytes, nothing, or that it is damaged."""
    for name, truth in sample.truths.items():
        for key in truth.needed:
            info = truth.infos.get(key)
            # the clock of a store on a disk is the real one
            if info is not None and (info.link or info.expires):
                continue
            try:
                found: object = store.object_store(name).get(key)
            except ObjectNotFoundError:
                found = None
            except ObjStoreError as error:
                found = type(error)
            yield name, key, found


def check_oddity(
    sample: Sample, folder: Path, place: Place, oddity: Oddity
) -> str | None:
    """Put one oddity in a store's place, use the store, put the file back.

    Returns:
        What is wrong, if something is.
    """
    target, aside = folder / "store", folder / "aside"
    unpack(sample, target)
    path = target.joinpath(*place.folders, place.name)
    shutil.move(path, aside)
    oddity.put(path, aside)
    _give_away(folder)
    where = f"{place.path} is {oddity.name}"
    with as_nobody(wanted=oddity.is_refused):
        problem = _use(target, sample, place)
        is_kept = path.is_symlink() or path.exists()
        # a dead writer's lock is cleared away, whatever it is
        if problem is None and not is_kept and place.folders != ("writers",):
            problem = "it was removed"
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        shutil.copyfile(aside, path)
        problem = problem or _is_as_before(target, sample)
    shutil.rmtree(folder)
    return None if problem is None else f"{where}: {problem}"


def _use(target: Path, sample: Sample, place: Place) -> str | None:
    """Read everything that opens; only documented errors, no other content."""
    in_bucket = place.log not in {None, REGISTRY}
    try:
        with objstore.open(target, retention_interval=None) as store:
            for name, key, found in _contents(store, sample):
                truth = sample.truths[name].contents.get(key)
                if isinstance(found, bytes) and found != truth:
                    past = sample.past.get((name, key), frozenset())
                    if found not in past:
                        return f"{key} holds what it never held"
                if (
                    in_bucket
                    and place.log != sample.truths[name].log
                    and found != truth
                ):
                    return f"{key} of another bucket is {found!r}"
            with suppress(StorageError):
                store.verify()
    except ObjStoreError as error:
        return f"the other buckets cannot be used: {error}" if in_bucket else None
    return None


def _is_as_before(target: Path, sample: Sample) -> str | None:
    with objstore.open(target, retention_interval=None) as store:
        for name, key, found in _contents(store, sample):
            if found != sample.truths[name].contents.get(key):
                return f"{key} is lost although the file is back"
    return None


def check_strangers(sample: Sample, folder: Path) -> str | None:
    """Files that are no store's lie in each of its folders, and stay there."""
    target = folder / "store"
    unpack(sample, target)
    strangers = [
        path / name
        for path in (target, target / FOLDERS[0], *(target / FOLDERS[0]).iterdir())
        for name in ("notes.txt", "00000001.seg", "0000000x-0000000000000001.seg")
    ]
    for path in strangers:
        path.write_bytes(b"of somebody else")
    problem = _is_as_before(target, sample)
    kept = all(path.read_bytes() == b"of somebody else" for path in strangers)
    shutil.rmtree(folder)
    return problem or (None if kept else "a file of somebody else was changed")


def run_disk(sample: Sample, base: Path, counts: Counter[str]) -> list[str]:
    """Put every oddity in the place of every file; give what is wrong."""
    wrong: list[str] = []
    folder = base / "warm"
    folder.mkdir(parents=True)
    # nothing is imported later, by a user who may read no program
    codecs.lookup("latin-1")
    wrong += filter(
        None, [check_oddity(sample, folder, Place((), "STORE"), ODDITIES[0])]
    )
    for place in sample.now.files:
        for oddity in ODDITIES:
            folder = base / "odd"
            folder.mkdir(parents=True)
            try:
                problem = check_oddity(sample, folder, place, oddity)
            except Exception as error:  # noqa: BLE001 - told with the case
                problem = f"{place.path} is {oddity.name}: {error!r}"
                shutil.rmtree(folder, ignore_errors=True)
            counts["files that were something else"] += 1
            if problem is not None:
                wrong.append(problem)
    folder = base / "strangers"
    folder.mkdir(parents=True)
    problem = check_strangers(sample, folder)
    return wrong + ([problem] if problem else [])

"""Steps of random programs: what each does to a store, and to plain contents.

A step never looks at a store to learn what is right: it says itself which content
each name has behind it, and checks what it reads against that.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias
from unittest import mock

from objstore import ObjectMeta
from objstore.blocking import ObjectReader, ObjectStore, ObjectWriter, Store
from objstore_log import _rewrite_policy as policy

Contents: TypeAlias = dict[str, dict[str, bytes]]
"""Content by bucket and name; links and what has expired are left out."""
StepKind: TypeAlias = Literal["change", "create", "drop", "reopen", "kill", "keep"]


class GivenUpError(Exception):
    """What a source raises that has no more to give."""


class Seen(NamedTuple):
    """What a watch had given when it stopped, and where it goes on."""

    bucket: str
    cursor: str
    names: Mapping[str, int]
    """The newest sequence of each name that was there by then."""
    last: int
    """The greatest sequence that was given."""


@dataclass
class Stage:
    """Where steps act: a store, perhaps a second engine, and what is held open."""

    get_store: Callable[[], Store]
    open_other: Callable[[], Store]
    readers: list[tuple[ObjectReader, bytes]] = field(
        default_factory=list[tuple[ObjectReader, bytes]]
    )
    """With what they have still to give."""
    writers: list[ObjectWriter] = field(default_factory=list[ObjectWriter])
    seen: list[Seen] = field(default_factory=list[Seen])
    _other: Store | None = None
    _lost: list[object] = field(default_factory=list[object])

    @property
    def store(self) -> Store:
        """Give the store of the process that runs the program."""
        return self.get_store()

    @property
    def other(self) -> Store:
        """Give the same store as another process has it."""
        if self._other is None:
            self._other = self.open_other()
        return self._other

    def lose(self) -> None:
        """Forget what the process held that died or closed its store."""
        # kept: nobody in a dead process gives anything back
        self._lost += [*self.readers, *self.writers]
        self.readers, self.writers = [], []

    def lose_other(self) -> None:
        """Forget the other engine: its process died, or it was closed."""
        self._lost.append(self._other)
        self._other = None

    def has_other(self) -> bool:
        """Say whether the other engine has the store open."""
        return self._other is not None


Act: TypeAlias = Callable[[Stage], object]


def _nothing(_: Stage) -> None:
    pass


@dataclass(frozen=True)
class Step:
    """One step of a program."""

    label: str
    bucket: str = "b"
    act: Act = _nothing
    changes: Mapping[str, bytes | None] = field(
        default_factory=dict[str, "bytes | None"]
    )
    """What the names of its bucket are behind it; `None` is gone."""
    moved: tuple[str, str] | None = None
    """Of which name another one gets the content, when nothing went wrong before."""
    links: tuple[str, ...] = ()
    """Names that have no content of their own behind it."""
    kind: StepKind = "change"
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    is_other: bool = False
    """The other engine does it."""

    def change(self, contents: Contents) -> Contents:
        """Give the contents behind it."""
        after = {bucket: dict(names) for bucket, names in contents.items()}
        if self.kind == "create":
            after.setdefault(self.bucket, {})
        elif self.kind == "drop":
            after.pop(self.bucket, None)
        names = after.get(self.bucket)
        if names is None or (self.moved is not None and self.moved[0] not in names):
            return after
        for name, content in self.changes.items():
            if content is None:
                names.pop(name, None)
            else:
                names[name] = content
        if self.moved is not None:
            names[self.moved[1]] = contents[self.bucket][self.moved[0]]
        return after

    def __str__(self) -> str:
        return f"{self.label} in {self.bucket}"


def content(chance: random.Random, size: int) -> bytes:
    """Give content that no other step puts."""
    return chance.randbytes(size)


def _of(stage: Stage, bucket: str, *, other: bool = False) -> ObjectStore:
    return (stage.other if other else stage.store).object_store(bucket)


def put(bucket: str, name: str, data: bytes, *, other: bool = False) -> Step:
    """Put an object."""

    def act(stage: Stage) -> None:
        _of(stage, bucket, other=other).put(name, data)

    label = f"put {len(data)} bytes as {name}{' by the other' * other}"
    return Step(label, bucket, act, {name: data}, is_other=other)


def put_pieces(bucket: str, name: str, data: bytes, pieces: int) -> Step:
    """Put an object that is written piece by piece."""

    def act(stage: Stage) -> None:
        size = len(data) // pieces + 1
        with _of(stage, bucket).open_writer(name) as writer:
            for at in range(0, len(data), size):
                writer.write(data[at : at + size])

    return Step(f"write {len(data)} bytes to {name}", bucket, act, {name: data})


def _broken(data: bytes) -> Iterator[bytes]:
    yield data
    raise GivenUpError


def put_broken(bucket: str, name: str, data: bytes) -> Step:
    """Begin to put from a source that fails in the middle."""

    def act(stage: Stage) -> None:
        with suppress(GivenUpError):
            _of(stage, bucket).put(name, _broken(data))

    return Step(f"fail to put {len(data)} bytes as {name}", bucket, act)


def abort_writer(bucket: str, name: str, data: bytes) -> Step:
    """Write a part of an object and give it up."""

    def act(stage: Stage) -> None:
        writer = _of(stage, bucket).open_writer(name)
        writer.write(data)
        writer.abort()

    return Step(f"abort {len(data)} bytes of {name}", bucket, act)


def leave_writer(bucket: str, name: str, data: bytes) -> Step:
    """Write a part of an object, and neither finish nor give it up."""

    def act(stage: Stage) -> None:
        writer = _of(stage, bucket).open_writer(name)
        stage.writers.append(writer)
        writer.write(data)

    return Step(f"leave {len(data)} bytes of {name}", bucket, act)


def drop_writers() -> Step:
    """Let the collector have all writers that were left."""

    def act(stage: Stage) -> None:
        stage.writers.clear()
        gc.collect()
        # what was dropped is given back by the next operation
        stage.store.object_store_names()

    return Step("drop what was left", act=act)


def delete(bucket: str, name: str, *, other: bool = False) -> Step:
    """Delete an object."""

    def act(stage: Stage) -> None:
        _of(stage, bucket, other=other).delete(name)

    label = f"delete {name}{' by the other' * other}"
    return Step(label, bucket, act, {name: None}, is_other=other)


def update_meta(bucket: str, name: str, text: str) -> Step:
    """Describe an object anew, and read that back."""

    def act(stage: Stage) -> None:
        handle = _of(stage, bucket)
        handle.update_meta(name, ObjectMeta(description=text))
        assert handle.get_info(name).description == text

    return Step(f"describe {name}", bucket, act)


def rename(bucket: str, source: str, target: str, data: bytes) -> Step:
    """Give an object another name, whatever had that name."""

    def act(stage: Stage) -> None:
        _of(stage, bucket).rename(source, target, overwrite=True)

    changes = {source: None, target: data}
    return Step(f"rename {source} to {target}", bucket, act, changes, (source, target))


def copy(bucket: str, source: str, target: str, data: bytes) -> Step:
    """Copy an object."""

    def act(stage: Stage) -> None:
        _of(stage, bucket).copy(source, target, overwrite=True)

    changes = {target: data}
    return Step(f"copy {source} to {target}", bucket, act, changes, (source, target))


def link(bucket: str, name: str, target: str) -> Step:
    """Link to an object."""

    def act(stage: Stage) -> None:
        _of(stage, bucket).add_link(name, target)

    return Step(f"link {name} to {target}", bucket, act, links=(name,))


def put_expiring(bucket: str, name: str, data: bytes) -> Step:
    """Put what expires at once."""

    def act(stage: Stage) -> None:
        _of(stage, bucket).put(name, data, ttl=1e-6)

    return Step(f"put {name} that expires", bucket, act, {name: None})


def retention(*, other: bool = False) -> Step:
    """Mark what has expired and give space back."""

    def act(stage: Stage) -> None:
        # segments here are small, and are to be rewritten all the same
        with mock.patch.object(policy, "GAIN_BYTES_MIN", 1):
            (stage.other if other else stage.store).run_retention()

    return Step(f"retention{' by the other' * other}", act=act, is_other=other)


def pin(bucket: str, name: str, read: int) -> Step:
    """Open a reader and read a part."""

    def act(stage: Stage) -> None:
        data = _of(stage, bucket).get(name)
        reader = _of(stage, bucket).open_reader(name)
        given = reader.read(read)
        assert given == data[: len(given)]
        stage.readers.append((reader, data[len(given) :]))

    return Step(f"open {name} and read {read} bytes", bucket, act)


def read_pinned() -> Step:
    """Read to their ends what readers have pinned, whatever became of the names."""

    def act(stage: Stage) -> None:
        for reader, rest in stage.readers:
            assert reader.read() == rest, "an open reader gives its version"
            reader.close()
        stage.readers.clear()

    return Step("read to the end what is open", act=act)


def seal(bucket: str) -> Step:
    """Seal a bucket."""

    def act(stage: Stage) -> None:
        _of(stage, bucket).seal()

    return Step("seal", bucket, act)


def describe_bucket(bucket: str, text: str) -> Step:
    """Change a bucket's configuration."""

    def act(stage: Stage) -> None:
        stage.store.update_object_store(bucket, description=text)

    return Step("describe the bucket", bucket, act)


def watch(bucket: str, changes: int) -> Step:
    """Take some changes from a watch, and keep its cursor."""

    def act(stage: Stage) -> None:
        with _of(stage, bucket).watch() as watching:
            names: dict[str, int] = {}
            last = 0
            with suppress(TimeoutError):
                for _ in range(changes):
                    change = watching.updates(timeout=0)
                    if change is not None:
                        names[change.name] = change.seq
                        last = max(last, change.seq)
            assert watching.cursor is not None
            stage.seen.append(Seen(bucket, watching.cursor, names, last))

    return Step(f"watch {changes} changes", bucket, act)


def close_other() -> Step:
    """Close the other engine."""

    def act(stage: Stage) -> None:
        if stage.has_other():
            other = stage.other
            stage.lose_other()
            other.close()

    return Step("close the other", act=act, is_other=True)


def create(bucket: str, config: Mapping[str, Any]) -> Step:
    """Create a bucket."""

    def act(stage: Stage) -> None:
        stage.store.create_object_store(bucket, **config)

    return Step(
        f"create with {dict(config)}", bucket, act, kind="create", config=config
    )


def drop(bucket: str) -> Step:
    """Delete a bucket."""

    def act(stage: Stage) -> None:
        stage.store.delete_object_store(bucket)

    return Step("delete the bucket", bucket, act, kind="drop")


REOPEN = Step("close and open", kind="reopen")
KILL = Step("lose the process", kind="kill")
KEEP = Step("keep the catalogs", kind="keep")

"""The store against a plain dict over everything a store can go through.

The rules of the object suite's machine, and beside them: readers that stay open while
all else goes on, conditional puts, links by meta, pages, and three hard ways to open
the place again: without its catalogs, after a kill, and after a kill in a large put.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.fakes.worlds import ENGINES, World
from tests.objects.test_object_machine import NAMES, Api, Entry, StoreMachine

from objstore import (
    BadObjectMetaError,
    ObjectAlreadyExists,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectNotFoundError,
    PreconditionFailedError,
)
from objstore._embedded import EmbeddedEngine

STEPS = 40
EXAMPLES = 15
"""Of each API on each storage, in the short form."""
SEGMENT_BYTES = 300_000
HALF = bytes(5_000_000)
READERS_MAX = 4
PLACES = {
    "files": ("file", "file"),
    "memory": ("memory", "file"),
    "memory bucket": ("file", "memory"),
}
"""The storage port of the store, and the storage of the bucket."""


def kill(engine: EmbeddedEngine) -> None:
    """Let an engine go as a killed process goes: locks are free, nothing is tidied."""
    store = engine._store
    buckets = [bucket.log for bucket in store._buckets.values()]
    for log in (store.registry.log, *buckets):
        log._waiters.close()
        log._loop.ask_to_stop()
        log._loop.join()
        if log._applying is not None:
            log._applying.join()
        log._is_closed = True
        if log._announcer._file is not None:
            log._announcer._file.close()
        log._core.close()
    lock = store.directory.writers._lock
    assert lock is not None
    lock.release()
    engine._is_closed = True


class ProofApi(Api):
    """The object suite's way to call, with hard ends."""

    def __init__(self, face: str, world: World, folder: Path) -> None:
        super().__init__(face, world)
        self._folder = folder

    def on_store(self, name: str, *args: Any, **options: Any) -> Any:
        """Call a method of the store."""
        return self.call(getattr(self._store, name), *args, **options)

    def reopen_without_catalogs(self) -> None:
        """Close the store, delete every catalog, open it again."""
        self.on_store("close" if self._portal is None else "aclose")
        self._open_without_catalogs()

    def reopen_killed(self, *, keeps_catalogs: bool) -> None:
        """Kill the engine and open the place again."""
        kill(cast("EmbeddedEngine", self._world.engine))
        if keeps_catalogs:
            self._world.engine = self._world.open_again()
            self.open()
        else:
            self._open_without_catalogs()

    def _open_without_catalogs(self) -> None:
        for path in self._folder.rglob("catalog.sqlite*"):
            path.unlink()
        self._world.engine = self._world.open_again()
        self.open()


class ProofMachine(StoreMachine):
    """Calls, readers and ends that change a store and a dict in the same way."""

    api: ProofApi

    def __init__(self, api: ProofApi, world: World, storage: str) -> None:
        super().__init__(api, world)
        self.storage = storage
        self.options: dict[str, Any] = {}
        self.readers: list[tuple[Any, bytes]] = []

    @initialize(sync=st.sampled_from(["always", "never", 0.01]))
    def configure(self, sync: str | float) -> None:
        """Sync in any way, in segments that few objects fill."""
        self.options = {"sync": sync, "segment_bytes": SEGMENT_BYTES}
        self.begin_bucket()

    def begin_bucket(self) -> None:
        """Make the bucket what it is to be; one in memory is lost at every end."""
        if self.storage == "file":
            self.api.on_store("update_object_store", "b", **self.options)
        else:
            self.api.on_store("delete_object_store", "b")
            self.api.on_store(
                "create_object_store", "b", storage=self.storage, **self.options
            )
            self.model.clear()

    # --- changes ------------------------------------------------------------------

    @rule(name=NAMES, content=st.binary(max_size=20), is_right=st.booleans())
    def put_after(self, name: str, content: bytes, is_right: bool) -> None:
        """Put only behind the change that was seen."""
        is_there = name in self.live()
        seen = self.api.on_bucket("get_info", name).seq if is_there else 0
        if is_right:
            self.api.on_bucket("put", name, content, if_match=seen)
            self.model[name] = Entry(content)
        else:
            with pytest.raises(PreconditionFailedError):
                self.api.on_bucket("put", name, content, if_match=seen + 1)

    @rule(name=NAMES)
    def fail(self, name: str) -> None:
        """A put whose source fails in the middle changes nothing."""

        def source() -> Any:
            yield HALF
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            self.api.on_bucket("put", name, source())

    @rule(name=NAMES, new_name=NAMES, text=st.sampled_from(["", "moved"]))
    def rename_by_meta(self, name: str, new_name: str, text: str) -> None:
        """Describe and rename at once, where the name is free."""
        meta = ObjectMeta(name=new_name, description=text)
        live = self.live()
        if name not in live:
            with pytest.raises(ObjectNotFoundError):
                self.api.on_bucket("update_meta", name, meta)
        elif name != new_name and new_name in live:
            with pytest.raises(ObjectAlreadyExists):
                self.api.on_bucket("update_meta", name, meta)
        else:
            info = self.api.on_bucket("update_meta", name, meta)
            assert (new_name, text or None) == (info.name, info.description)
            entry = self.model.pop(name)
            self.model[new_name] = replace(entry, description=text or None)

    @rule(name=NAMES, to=NAMES)
    def link_by_meta(self, name: str, to: str) -> None:
        """Link to anything, there or not, where the name is free or a link's."""
        options = ObjectMetaOptions(link=ObjectLink("b", to))
        meta = ObjectMeta(name=name, options=options)
        found = self.live().get(name)
        expected: type[Exception] | None = None
        if name == to:
            expected = BadObjectMetaError
        elif found is not None and found.link is None:
            expected = ObjectAlreadyExists
        if expected is not None:
            with pytest.raises(expected):
                self.api.on_bucket("update_meta", name, meta)
        else:
            self.api.on_bucket("update_meta", name, meta)
            self.model[name] = Entry(
                link=to, description=found.description if found else None
            )

    # --- ends ---------------------------------------------------------------------

    @precondition(lambda self: bool(self.model))
    @rule()
    def reopen(self) -> None:
        """A store that is closed and opened again has what it had."""
        self.readers.clear()
        self.api.reopen()
        self.begin_bucket()

    @rule()
    def lose_catalogs(self) -> None:
        """A store without its catalogs has what it had."""
        self.readers.clear()
        self.api.reopen_without_catalogs()
        self.begin_bucket()

    @rule(keeps_catalogs=st.booleans())
    def be_killed(self, keeps_catalogs: bool) -> None:
        """A killed store has what it had."""
        self.readers.clear()
        self.api.reopen_killed(keeps_catalogs=keeps_catalogs)
        self.begin_bucket()

    @rule(name=NAMES, keeps_catalogs=st.booleans())
    def be_killed_in_a_put(self, name: str, keeps_catalogs: bool) -> None:
        """A put that was under way has no effect."""
        writer = self.api.on_bucket("open_writer", name)
        self.api.call(writer.write, HALF)
        self.be_killed(keeps_catalogs)

    # --- reads --------------------------------------------------------------------

    @precondition(lambda self: len(self.readers) < READERS_MAX)
    @rule(name=NAMES)
    def open_reader(self, name: str) -> None:
        """Open a version to read it later."""
        expected = self.content(name)
        if isinstance(expected, bytes):
            self.readers.append((self.api.on_bucket("open_reader", name), expected))

    @precondition(lambda self: bool(self.readers))
    @rule(data=st.data(), offset=st.integers(0, 3_000_000))
    def read_old_version(self, data: st.DataObject, offset: int) -> None:
        """A reader reads the version that it was opened on, whatever happened."""
        at = data.draw(st.integers(0, len(self.readers) - 1))
        reader, content = self.readers.pop(at)
        start = min(offset, len(content))
        self.api.call(reader.seek, start)
        assert content[start:] == self.api.call(reader.read)
        self.api.call(getattr(reader, "close", None) or reader.aclose)

    @rule(limit=st.integers(1, 4), prefix=st.sampled_from(["", "a"]))
    def list_by_pages(self, limit: int, prefix: str) -> None:
        """Pages hold every name once, in order."""
        names: list[str] = []
        after: str | None = None
        while page := self.api.on_bucket(
            "list", prefix, start_after=after, limit=limit
        ):
            names += [info.name for info in page]
            after = names[-1]
        live = [name for name in self.live() if name.startswith(prefix)]
        assert sorted(live, key=str.encode) == names

    @rule(name=NAMES)
    def get_info(self, name: str) -> None:
        """Describe what is there."""
        entry = self.live().get(name)
        assert (entry is not None) is self.api.on_bucket("exists", name)
        if entry is None:
            with pytest.raises(ObjectNotFoundError):
                self.api.on_bucket("get_info", name)
        else:
            info = self.api.on_bucket("get_info", name)
            assert (name, len(entry.content)) == (info.name, info.size)
            assert (entry.expires is None) is (info.expires is None)


def _run(
    face: str, place: str, folders: pytest.TempPathFactory, chosen: settings
) -> None:
    engine, storage = PLACES[place]

    def machine() -> ProofMachine:
        folder = folders.mktemp("store")
        world = ENGINES[engine](folder)
        return ProofMachine(ProofApi(face, world, folder), world, storage)

    made: Any = machine
    run_state_machine_as_test(made, settings=chosen)


everywhere = pytest.mark.parametrize("place", sorted(PLACES))
on_every_face = pytest.mark.parametrize("face", ["blocking", "asyncio", "trio"])


@everywhere
@on_every_face
def test_store_is_its_model_through_anything(
    face: str, place: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is called and however it ends, a store is the dict it stands for."""
    chosen = settings(max_examples=EXAMPLES, stateful_step_count=STEPS)
    _run(face, place, tmp_path_factory, chosen)


@pytest.mark.torture
@pytest.mark.timeout(0)
@everywhere
@on_every_face
def test_store_is_its_model_for_long(
    face: str, place: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same over the examples of the profile, in longer rows."""
    _run(face, place, tmp_path_factory, settings(stateful_step_count=100))

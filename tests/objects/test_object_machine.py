"""A store against a plain dict, over rows of random calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.fakes.worlds import ENGINES, World

from objstore import (
    BadObjectMetaError,
    ObjectAlreadyExists,
    ObjectLink,
    ObjectMeta,
    ObjectNotFoundError,
    Store,
    blocking,
)
from objstore._handles import AsyncSession, Session
from objstore._links import LINK_HOPS_MAX

NAMES = st.sampled_from(["a", "a/b", "a/c", "b", "ä", "\U00010000"])
CONTENTS = st.one_of(
    st.binary(max_size=30),
    st.integers(0, 3_000_000).map(lambda size: bytes([size & 255]) * size),
)
TTLS = st.sampled_from([None, None, 3, 7])


@dataclass(frozen=True)
class Entry:
    """What the model knows of a name."""

    content: bytes = b""
    description: str | None = None
    ttl: int | None = None
    expires: int | None = None
    link: str | None = None


class Api:
    """One API of a store, called from a test that does not await."""

    def __init__(self, face: str, world: World) -> None:
        self._ends = ExitStack()
        self._world = world
        self._portal: BlockingPortal | None = None
        if face != "blocking":
            self._portal = self._ends.enter_context(start_blocking_portal(face))
        self._store: Any = None
        self.open()

    def open(self) -> None:
        """Open a store on the world's engine, and its bucket."""
        if self._portal is None:
            self._store = blocking.Store(Session(self._world.engine))
        else:
            self._store = self._portal.call(
                lambda: Store(AsyncSession(self._world.engine))
            )
        self.bucket = self.call(self._store.object_store, "b", create=True)

    def call(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a method of the store or its bucket."""
        if self._portal is None:
            return method(*args, **options)
        return self._portal.call(lambda: method(*args, **options))

    def on_bucket(self, name: str, *args: Any, **options: Any) -> Any:
        """Call a method of the bucket."""
        return self.call(getattr(self.bucket, name), *args, **options)

    def retain(self) -> None:
        """Run retention."""
        self.call(self._store.run_retention)

    def verify(self) -> Any:
        """Check everything."""
        return self.call(self._store.verify)

    def reopen(self) -> None:
        """Close the store and open it again."""
        self.call(self._store.close if self._portal is None else self._store.aclose)
        self._world.engine = self._world.open_again()
        self.open()

    def end(self) -> None:
        """End everything."""
        self._world.engine.close()
        self._ends.close()


class StoreMachine(RuleBasedStateMachine):
    """Calls that change a store and a dict in the same way."""

    def __init__(self, api: Api, world: World) -> None:
        super().__init__()
        self.world = world
        self.api = api
        self.model: dict[str, Entry] = {}
        self.now = 0

    def teardown(self) -> None:
        assert self.api.verify().ok
        self.api.end()

    # --- the model ----------------------------------------------------------------

    def live(self) -> dict[str, Entry]:
        """Give the names that readers see."""
        return {
            name: entry
            for name, entry in self.model.items()
            if entry.expires is None or entry.expires > self.now
        }

    def content(self, name: str) -> bytes | type[Exception]:
        """Give what a read of a name has to give."""
        for _ in range(LINK_HOPS_MAX + 1):
            entry = self.live().get(name)
            if entry is None:
                return ObjectNotFoundError
            if entry.link is None:
                return entry.content
            name = entry.link
        return BadObjectMetaError

    def target(self, name: str) -> str | None:
        """Give the name at the end of all links; `None` when there is none."""
        for _ in range(LINK_HOPS_MAX + 1):
            entry = self.live().get(name)
            if entry is None or entry.link is None:
                return name if entry else None
            name = entry.link
        return None

    def expiry(self, ttl: int | None) -> int | None:
        """Give when something expires that is put now."""
        return None if ttl is None else self.now + ttl

    # --- changes ------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        """Start from nothing."""
        assert [] == self.api.on_bucket("list")

    @rule(name=NAMES, content=CONTENTS, ttl=TTLS, chunk=st.sampled_from([8, 131_072]))
    def put(self, name: str, content: bytes, ttl: int | None, chunk: int) -> None:
        """Put small and large contents, over anything."""
        chunk = 131_072 if len(content) > 10_000 else chunk
        info = self.api.on_bucket("put", name, content, chunk_size=chunk, ttl=ttl)
        self.model[name] = Entry(content, None, ttl, self.expiry(ttl))
        assert len(content) == info.size

    @rule(name=NAMES, content=st.binary(max_size=9))
    def create(self, name: str, content: bytes) -> None:
        """Put only where the name is free."""
        if name in self.live():
            with pytest.raises(ObjectAlreadyExists):
                self.api.on_bucket("put", name, content, create=True)
        else:
            self.api.on_bucket("put", name, content, create=True)
            self.model[name] = Entry(content)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        """Delete what is there."""
        expected = name in self.live()
        assert expected is self.api.on_bucket("delete", name, missing_ok=True)
        self.model.pop(name, None)

    @rule(name=NAMES, text=st.sampled_from(["", "one", "two"]))
    def describe(self, name: str, text: str) -> None:
        """Change a description, or clear it."""
        meta = ObjectMeta(description=text)
        if name not in self.live():
            with pytest.raises(ObjectNotFoundError):
                self.api.on_bucket("update_meta", name, meta)
        else:
            self.api.on_bucket("update_meta", name, meta)
            self.model[name] = replace(self.model[name], description=text or None)

    @rule(name=NAMES, new_name=NAMES, overwrite=st.booleans())
    def rename(self, name: str, new_name: str, overwrite: bool) -> None:
        """Rename objects and links, over others only when told."""
        if name not in self.live():
            expected: type[Exception] | None = ObjectNotFoundError
        elif name != new_name and new_name in self.live() and not overwrite:
            expected = ObjectAlreadyExists
        else:
            expected = None
        if expected is not None:
            with pytest.raises(expected):
                self.api.on_bucket("rename", name, new_name, overwrite=overwrite)
        else:
            self.api.on_bucket("rename", name, new_name, overwrite=overwrite)
            self.model[new_name] = self.model.pop(name)

    @rule(name=NAMES, new_name=NAMES)
    def copy(self, name: str, new_name: str) -> None:
        """Copy the object behind a name, over anything."""
        found, source = self.content(name), self.target(name)
        if isinstance(found, type) or source is None:
            assert isinstance(found, type)
            with pytest.raises(found):
                self.api.on_bucket("copy", name, new_name)
        else:
            self.api.on_bucket("copy", name, new_name)
            entry = self.model[source]
            self.model[new_name] = replace(entry, expires=self.expiry(entry.ttl))

    @rule(name=NAMES, to=NAMES)
    def link(self, name: str, to: str) -> None:
        """Link to what is there, where the name is free or a link's."""
        live = self.live()
        if name == to:
            expected: type[Exception] | None = BadObjectMetaError
        elif to not in live:
            expected = ObjectNotFoundError
        elif name in live and live[name].link is None:
            expected = ObjectAlreadyExists
        else:
            expected = None
        if expected is not None:
            with pytest.raises(expected):
                self.api.on_bucket("add_link", name, to)
        else:
            info = self.api.on_bucket("add_link", name, to)
            kept = live[name].description if name in live else None
            self.model[name] = Entry(description=kept, link=to)
            assert ObjectLink("b", to) == info.link

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.world.advance(seconds)
        self.now += seconds

    @rule()
    def retain(self) -> None:
        """Retention changes nothing that a reader sees."""
        self.api.retain()

    @precondition(lambda self: bool(self.model))
    @rule()
    def reopen(self) -> None:
        """A store that is closed and opened again has what it had."""
        self.api.reopen()

    # --- reads --------------------------------------------------------------------

    @rule(name=NAMES)
    def get(self, name: str) -> None:
        """Read all of it."""
        expected = self.content(name)
        if isinstance(expected, type):
            with pytest.raises(expected):
                self.api.on_bucket("get", name)
        else:
            assert expected == self.api.on_bucket("get", name)

    @rule(name=NAMES, start=st.integers(-40, 40), length=st.integers(0, 3_000_000))
    def get_range(self, name: str, start: int, length: int) -> None:
        """Read some of it."""
        expected = self.content(name)
        if isinstance(expected, bytes):
            start = min(start, len(expected))
            first = max(len(expected) + start, 0) if start < 0 else start
            read = self.api.on_bucket("get_range", name, start=start, length=length)
            assert expected[first : first + length] == read

    @rule(prefix=st.sampled_from(["", "a", "a/", "z"]), limit=st.integers(0, 4))
    def list_page(self, prefix: str, limit: int) -> None:
        """List some names, the way they are."""
        names = sorted(self.live(), key=str.encode)
        expected = [name for name in names if name.startswith(prefix)][:limit]
        infos = self.api.on_bucket("list", prefix, limit=limit)
        assert expected == [info.name for info in infos]

    @invariant()
    def names_and_figures_agree(self) -> None:
        """The list and the status are those of the model, at any time."""
        live = self.live()
        expected = [
            (name, len(live[name].content), live[name].description, live[name].link)
            for name in sorted(live, key=str.encode)
        ]
        infos = self.api.on_bucket("list")
        status = self.api.on_bucket("status")
        assert expected == [
            (info.name, info.size, info.description, info.link and info.link.name)
            for info in infos
        ]
        assert len(live) == status.count
        assert sum(len(entry.content) for entry in live.values()) == status.size


@pytest.mark.parametrize("engine", sorted(ENGINES))
@pytest.mark.parametrize("api", ["blocking", "asyncio", "trio"])
def test_store_equals_model(
    api: str, engine: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is called in whatever order, a store is the dict that it stands for."""

    def machine() -> StoreMachine:
        folder: Path = tmp_path_factory.mktemp("store")
        world = ENGINES[engine](folder)
        return StoreMachine(Api(api, world), world)

    made: Any = machine
    run_state_machine_as_test(
        made, settings=settings(max_examples=40, stateful_step_count=30)
    )

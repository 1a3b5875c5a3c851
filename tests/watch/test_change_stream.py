"""The state machine of a change stream, against a model of the log."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore_watch import (
    ChangeFilter,
    ChangeStream,
    Marker,
    NeedChanges,
    NeedFloor,
    NeedPage,
    NeedSequenceAt,
    NeedVisible,
    NeedWait,
    Place,
    Start,
    StartAfter,
    StartAll,
    StartAtSequence,
    StartAtTime,
    StartCurrent,
    StartNew,
)

Change: TypeAlias = tuple[int, str]
Stream: TypeAlias = ChangeStream[Change]

SUBJECTS = st.sampled_from(["a", "a1", "a2", "b", "b1", "c"])
COMMITS = st.lists(st.tuples(st.integers(1, 3), SUBJECTS), max_size=12)
PAGE = 2


@dataclass
class Model:
    """A log: changes with sparse sequences; a change's time is its sequence."""

    prefix: str = ""
    changes: list[Change] = field(default_factory=list[Change])
    visible: int = 0
    floor: int = 0

    def commit(self, gap: int, subject: str) -> None:
        """Append a change, and chunks before it that take numbers."""
        self.visible += gap
        self.changes.append((self.visible, subject))

    def newest(self) -> dict[str, int]:
        """Give every subject's newest sequence."""
        return {
            subject: sequence
            for sequence, subject in self.changes
            if subject.startswith(self.prefix)
        }

    def above(self, sequence: int) -> list[Change]:
        """Give the wanted changes above a sequence."""
        return [
            change
            for change in self.changes
            if change[0] > sequence and change[1].startswith(self.prefix)
        ]

    def answer(self, stream: Stream) -> bool:
        """Answer the stream's request; False when there is nothing to wait for."""
        match stream.request():
            case NeedVisible():
                stream.receive_sequence(self.visible)
            case NeedFloor():
                stream.receive_sequence(self.floor)
            case NeedSequenceAt(time_ns):
                stream.receive_sequence(min(time_ns, self.visible))
            case NeedWait():
                stream.receive_visible(self.visible)
                return isinstance(stream.request(), NeedChanges)
            case NeedPage(after, as_of):
                self._page(stream, after, as_of)
            case NeedChanges(after):
                self._changes(stream, after)
            case None:
                raise AssertionError
        return True

    def _page(self, stream: Stream, after: str | None, as_of: int) -> None:
        rows = {subject: sequence for sequence, subject in self.changes}
        page = [
            (subject, (sequence, subject))
            for subject, sequence in sorted(rows.items())
            if sequence <= as_of and (after is None or subject > after)
        ][:PAGE]
        wanted = [row for row in page if row[0].startswith(self.prefix)]
        stream.receive_page(wanted, page[-1][0] if page else None)

    def _changes(self, stream: Stream, after: int) -> None:
        assert self.floor <= after <= self.visible
        found = [change for change in self.changes if change[0] > after]
        page = found[:PAGE]
        through = page[-1][0] if len(found) > PAGE else self.visible
        wanted = [(c[0], c) for c in page if c[1].startswith(self.prefix)]
        stream.receive_changes(wanted, through)


def drained(stream: Stream, model: Model) -> Iterator[Change | Marker]:
    """Give everything until the stream would sleep."""
    while True:
        if stream.request() is None:
            yield stream.take()
        elif not model.answer(stream):
            return


@dataclass
class Run:
    """A reader that is stepped, interrupted and resumed as told."""

    stream: Stream
    model: Model
    initial: list[Change] = field(default_factory=list[Change])
    live: list[Change] = field(default_factory=list[Change])
    markers: int = 0

    def take(self) -> None:
        """Take what is ready and file it by the phase."""
        place = self.stream.place
        is_initial = place is not None and place.subject is not None
        item = self.stream.take()
        if isinstance(item, Marker):
            self.markers += 1
        else:
            (self.initial if is_initial else self.live).append(item)

    def step(self) -> None:
        """Take what is ready, or have a request answered."""
        if self.stream.request() is None:
            self.take()
        else:
            self.model.answer(self.stream)

    def split(self) -> None:
        """Go on with a new stream at the place of the old one."""
        if (place := self.stream.place) is not None:
            self.stream = ChangeStream(StartAfter(place))

    def finish(self) -> None:
        """Step until the stream would sleep."""
        while self.stream.request() is None or self.model.answer(self.stream):
            if self.stream.request() is None:
                self.take()


Action: TypeAlias = str | tuple[int, str]
"""A step, a split, or a commit: the gap before it and its subject."""
ACTIONS: st.SearchStrategy[list[Action]] = st.lists(
    st.sampled_from(["step", "step", "split"]) | st.tuples(st.integers(1, 3), SUBJECTS),
    max_size=60,
)


def played(
    start: Start, before: list[tuple[int, str]], actions: list[Action], prefix: str
) -> tuple[Run, Model]:
    """Run a stream while changes are committed between its steps."""
    model = Model(prefix)
    for gap, subject in before:
        model.commit(gap, subject)
    run = Run(ChangeStream(start), model)
    model.answer(run.stream)
    for action in actions:
        if isinstance(action, tuple):
            model.commit(*action)
        elif action == "step":
            run.step()
        else:
            run.split()
    run.finish()
    return run, model


@given(COMMITS, ACTIONS, st.sampled_from(["", "a"]))
def test_current_values_and_live_changes_make_the_model(
    before: list[tuple[int, str]], actions: list[Action], prefix: str
) -> None:
    """Nothing is left out and nothing comes twice, whatever happens meanwhile.

    Changes are committed between the steps, and the run is split by its cursor.
    """
    run, model = played(StartCurrent(), before, actions, prefix)
    start = sum(gap for gap, _ in before)

    assert model.above(start) == run.live
    assert sorted({subject for _, subject in run.initial}) == [
        subject for _, subject in run.initial
    ]
    assert all(sequence <= start for sequence, _ in run.initial)
    assert model.newest() == {
        subject: sequence for sequence, subject in run.initial + run.live
    }


@given(COMMITS, ACTIONS, st.sampled_from(["", "a"]))
def test_all_gives_every_kept_change_once(
    before: list[tuple[int, str]], actions: list[Action], prefix: str
) -> None:
    """From the floor on, every change comes in the order of the log."""
    run, model = played(StartAll(), before, actions, prefix)

    assert [] == run.initial
    assert model.above(0) == run.live


@given(COMMITS, ACTIONS)
def test_new_gives_only_what_comes(
    before: list[tuple[int, str]], actions: list[Action]
) -> None:
    """What was there when the start was resolved does not come."""
    run, model = played(StartNew(), before, actions, "")

    assert [] == run.initial
    assert model.above(sum(gap for gap, _ in before)) == run.live


@given(COMMITS.filter(bool), COMMITS, st.data())
def test_split_run_gives_what_the_whole_gives(
    before: list[tuple[int, str]], later: list[tuple[int, str]], data: st.DataObject
) -> None:
    """Resumed by the place of any point, the rest is the same to the letter."""
    model = Model()
    for gap, subject in before:
        model.commit(gap, subject)
    stream: Stream = ChangeStream(StartCurrent())
    model.answer(stream)
    place = stream.place
    assert place is not None
    if data.draw(st.booleans()):
        for gap, subject in later:
            model.commit(gap, subject)
    whole: list[Change] = []
    places: list[Place] = [place]
    for item in drained(stream, model):
        if not isinstance(item, Marker):
            assert stream.place is not None
            whole.append(item)
            places.append(stream.place)

    cut = data.draw(st.integers(0, len(whole)))
    rest = drained(ChangeStream(StartAfter(places[cut])), model)
    assert whole[cut:] == [item for item in rest if not isinstance(item, Marker)]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (StartAtSequence(0), [3, 6, 9]),
        (StartAtSequence(1), [3, 6, 9]),
        (StartAtSequence(3), [3, 6, 9]),
        (StartAtSequence(4), [6, 9]),
        (StartAtSequence(9), [9]),
        (StartAtSequence(10), []),
        (StartAtTime(6), [6, 9]),
        (StartAtTime(7), [9]),
        (StartAtTime(99), []),
    ],
)
def test_start_includes_its_own_sequence_or_time(
    start: Start, expected: list[int]
) -> None:
    """A start at a sequence or time gives the change that is right there."""
    model = Model()
    for subject in "abc":
        model.commit(3, subject)
    items = list(drained(ChangeStream(start), model))

    assert expected == [item[0] for item in items if not isinstance(item, Marker)]


@pytest.mark.parametrize(
    ("start", "index"),
    [
        (StartCurrent(), 2),
        (StartNew(), 0),
        (StartAll(), 3),
        (StartAtSequence(2), 2),
        (StartAtTime(2), 2),
        (StartAfter(Place(2)), 1),
        (StartAfter(Place(3)), 0),
        (StartAfter(Place(3, "")), 2),
        (StartAfter(Place(3, "a")), 1),
    ],
)
def test_marker_comes_once_behind_what_was_there(start: Start, index: int) -> None:
    """The marker parts what existed at the start from what came later."""
    model = Model()
    for subject in "aba":
        model.commit(1, subject)
    stream: Stream = ChangeStream(start)
    while stream.place is None:
        model.answer(stream)
    model.commit(1, "z")
    items = list(drained(stream, model))

    assert Marker.CAUGHT_UP == items[index]
    assert 1 == items.count(Marker.CAUGHT_UP)
    assert (4, "z") == items[-1]


def test_request_is_repeated_until_it_is_answered() -> None:
    """Asking again changes nothing, so a cancelled request loses nothing."""
    model = Model()
    model.commit(1, "a")
    stream: Stream = ChangeStream(StartAll())
    seen: list[object] = []
    while stream.request() is not None:
        assert stream.request() == stream.request()
        seen.append(stream.request())
        model.answer(stream)

    assert [NeedFloor(), NeedVisible(), NeedChanges(0)] == seen


def test_filtered_reader_keeps_its_place_fresh() -> None:
    """Changes that the reader does not want move its place all the same."""
    model = Model("x")
    stream: Stream = ChangeStream(StartNew())
    model.answer(stream)
    for _ in range(5):
        model.commit(1, "a")
    assert [Marker.CAUGHT_UP] == list(drained(stream, model))

    assert Place(5) == stream.place


def test_start_above_the_end_asks_for_changes() -> None:
    """A place that the log never had is not slept on but asked for, and refused."""
    stream: Stream = ChangeStream(StartAfter(Place(9)))
    stream.receive_sequence(4)

    assert not stream.is_caught_up
    assert NeedChanges(9) == stream.request()


def test_initial_place_above_the_end_asks_for_changes() -> None:
    """The same within the initial values."""
    stream: Stream = ChangeStream(StartAfter(Place(9, "a")))
    stream.receive_sequence(4)
    assert NeedPage("a", as_of=9) == stream.request()
    stream.receive_page([], None)

    assert not stream.is_caught_up
    assert NeedChanges(9) == stream.request()


def test_all_goes_on_from_a_floor_raised_meanwhile() -> None:
    """Between asking for the floor and reading from it, the floor may rise."""
    stream: Stream = ChangeStream(StartAll())
    stream.receive_sequence(3)
    stream.receive_sequence(10)
    assert NeedChanges(3) == stream.request()

    assert stream.receive_expired()
    assert NeedFloor() == stream.request()


def test_expired_changes_are_no_way_on_later() -> None:
    """Once changes were read, a gap is a gap."""
    stream: Stream = ChangeStream(StartAll())
    stream.receive_sequence(0)
    stream.receive_sequence(10)
    stream.receive_changes([], 5)

    assert not stream.receive_expired()
    assert NeedChanges(5) == stream.request()


def test_restart_gives_current_values_and_no_second_marker() -> None:
    """Behind a gap the stream goes on from current values."""
    model = Model()
    stream: Stream = ChangeStream(StartNew())
    assert [Marker.CAUGHT_UP] == list(drained(stream, model))
    for subject in "bcb":
        model.commit(1, subject)
    model.floor = 3
    stream.restart()

    assert [(3, "b"), (2, "c")] == list(drained(stream, model))
    assert Place(3) == stream.place


def test_late_answer_of_a_sleep_changes_nothing() -> None:
    """Several may sleep at once; an answer that others overtook makes no difference."""
    stream: Stream = ChangeStream(StartNew())
    stream.receive_sequence(5)
    assert Marker.CAUGHT_UP is stream.take()
    assert NeedWait(5) == stream.request()
    stream.receive_visible(7)
    stream.receive_changes([], 7)
    stream.receive_visible(6)

    assert NeedWait(7) == stream.request()


def test_answer_to_another_request_is_refused() -> None:
    """A driver that mixes answers up fails at once."""
    stream: Stream = ChangeStream(StartAfter(Place(1)))
    stream.receive_sequence(5)

    with pytest.raises(AssertionError):
        stream.receive_sequence(6)


@pytest.mark.parametrize(
    ("kind", "subject", "admitted"),
    [
        ("put", "a/b", True),
        ("put", "b", False),
        ("delete", "a/b", False),
        ("seal", None, True),
    ],
)
def test_filter_looks_at_kind_and_prefix(
    kind: str, subject: str | None, *, admitted: bool
) -> None:
    """A change of the whole log has no subject, so its kind alone decides."""
    wanted = ChangeFilter(frozenset({"put", "seal"}), "a/")

    assert admitted is wanted.admits(kind, subject)

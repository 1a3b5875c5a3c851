"""The checker of histories takes every one of a store that does nothing wrong."""

from __future__ import annotations

import dataclasses
import random

import pytest
from tests.torture.history import CUT, DONE, MISSING, OPEN, Call, Event
from tests.torture.history_check import check
from tests.torture.history_made import Shares, make

MANY = Shares(killed=0.15, cut=0.3)
FEW = Shares(killed=0.02, cut=0.05)


def _wrong(seed: int, *, moves: bool, shares: Shares, each: int = 40) -> list[str]:
    calls, log = make(seed, moves=moves, shares=shares, each=each)
    wrong = check(calls, log if moves else None, {}).wrong
    return [f"seed {seed}: {text}" for text in wrong]


@pytest.mark.parametrize("moves", [True, False], ids=["with a log", "answers alone"])
def test_what_happened_at_one_moment_each_is_explained(moves: bool) -> None:
    """However many calls were killed or cut, and whatever moved."""
    for seed in range(8):
        assert _wrong(seed, moves=moves, shares=MANY) == []


@pytest.mark.slow
@pytest.mark.parametrize("moves", [True, False], ids=["with a log", "answers alone"])
@pytest.mark.parametrize(("shares", "each"), [(MANY, 60), (FEW, 150)])
def test_many_histories_are_explained(moves: bool, shares: Shares, each: int) -> None:
    """The long form."""
    for seed in range(1_000, 1_030):
        assert _wrong(seed, moves=moves, shares=shares, each=each) == []


def test_killed_and_cut_puts_do_not_multiply_the_search() -> None:
    """Each may have happened or not, and still the answers alone are put in order."""
    assert _wrong(8, moves=False, shares=Shares(0.02, 0.1), each=400) == []


def test_old_answers_in_a_made_history_are_seen() -> None:
    """A read that says that nothing is there is refused, but where it may be so."""
    tried = refused = 0
    for seed in range(10):
        calls, log = make(seed, moves=True, shares=FEW)
        reads = [n for n, c in enumerate(calls) if (c.how, c.outcome) == ("info", DONE)]
        at = random.Random(seed).choice(reads)
        answer = {"name": calls[at].name}
        calls[at] = dataclasses.replace(calls[at], outcome=MISSING, answer=answer)
        tried += 1
        refused += bool(check(calls, log, {}).wrong)
    assert refused > tried * 0.6


def _call(number: str, how: str, name: str, *times: float, **facts: object) -> Call:
    outcome = CUT if len(times) == 2 else OPEN
    begin_ns, end_ns = (*times, float("inf"))[:2]
    return Call(number, "p", how, "b", name, begin_ns, facts, outcome, {}, end_ns)


def _put(seq: int, name: str, digest: str, *times: float) -> tuple[Call, Event]:
    event = Event(seq, "put", name, digest, digest, digest)
    facts, answer = {"digest": digest, "text": digest}, {"seq": seq, "digest": digest}
    begin_ns, end_ns = times
    call = Call(digest, "q", "put", "b", name, begin_ns, facts, DONE, answer, end_ns)
    return call, event


def _seen(event: Event, *times: float) -> Call:
    answer = {"seq": event.seq, "digest": event.digest}
    return Call("r", "r", "info", "b", event.name, times[0], {}, DONE, answer, times[1])


def test_either_of_two_copies_may_have_been_the_one() -> None:
    """The one that is cut first began when the change was seen already."""
    put, first = _put(1, "a", "A", 0, 1)
    copied = Event(2, "put", "c", "A", "A", "A")
    killed = _call("killed", "copy", "a", 2, other="c")
    late = _call("late", "copy", "a", 8, 9, other="c")
    wrong = check([put, killed, late, _seen(copied, 4, 5)], [first, copied], {}).wrong
    assert wrong == []


def test_copy_that_needs_a_free_name_did_not_go_over_another() -> None:
    """So it was the rename that overwrites."""
    puts = [_put(1, "a", "A", 0, 1), _put(2, "c", "C", 2, 3)]
    log = [event for _, event in puts]
    log += [Event(3, "delete", "a"), Event(4, "put", "c", "A", "A", "A")]
    over = _call("over", "rename", "a", 4, other="c")
    careful = _call("careful", "rename", "a", 4, 9, other="c", create=True)
    calls = [call for call, _ in puts]
    assert check([*calls, careful, over], log, {}).wrong == []
    assert check([*calls, careful], log, {}).wrong != []


def test_deletion_beside_a_copy_is_no_half_of_a_rename() -> None:
    """A killed copy came right behind a deletion of what has the same identity."""
    put, first = _put(1, "a", "A", 0, 1)
    log = [first, Event(2, "put", "b", "A", "A", "A"), Event(3, "delete", "b")]
    log.append(Event(4, "put", "c", "A", "A", "A"))
    facts, answer = {"other": "b"}, {"seq": 2, "digest": "A"}
    copy = Call("copy", "p", "copy", "b", "a", 2, facts, DONE, answer, 3)
    delete = Call("delete", "p", "delete", "b", "b", 4, {}, DONE, {}, 5)
    killed = _call("killed", "copy", "a", 4, other="c")
    assert check([put, copy, delete, killed], log, {}).wrong == []
    rename = _call("rename", "rename", "b", 4, other="c")
    assert check([put, copy, rename, killed], log, {}).wrong == []
    assert check([put, copy, delete, rename], log, {}).wrong != []


def test_one_copy_does_not_make_two_changes() -> None:
    """Nor do two calls make three."""
    put, first = _put(1, "a", "A", 0, 1)
    log = [first, *(Event(seq, "put", "c", "A", "A", "A") for seq in (2, 3))]
    two = [_call(number, "copy", "a", 2, other="c") for number in ("one", "two")]
    assert check([put, *two], log, {}).wrong == []
    assert "nobody made" in check([put, *two[:1]], log, {}).wrong[0]


def test_cut_deletion_has_happened_by_its_end_or_never_does() -> None:
    """Also where the answers alone are compared."""
    put, first = _put(1, "a", "A", 0, 1)
    log = [first, Event(2, "delete", "a")]
    cut = _call("cut", "delete", "a", 2, 3)
    assert check([put, cut], log, {}).wrong == []
    late = dataclasses.replace(_seen(first, 4, 5), id="late")
    gone = Call("gone", "s", "info", "b", "a", 6, {}, MISSING, {"name": "a"}, 7)
    assert check([put, cut, late], None, {}).wrong == []
    assert check([put, cut, gone], None, {}).wrong == []
    assert check([put, cut, late, gone], None, {}).wrong != []

"""The checker of histories takes good ones and refuses each planted bad one."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tests.torture.history import (
    BUSY,
    CUT,
    DIFFERS,
    DONE,
    EXISTS,
    FAILED,
    MISSING,
    OPEN,
    Call,
    Event,
    Sight,
    read_journal,
)
from tests.torture.history_check import check

NEVER = math.inf


class Story:
    """A history under construction: each call takes one tick unless it says when."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.log: list[Event] = []
        self.now = 0

    def call(
        self,
        how: str,
        name: str,
        outcome: str = DONE,
        *,
        at: tuple[float, float] | None = None,
        who: str = "p",
        answer: dict[str, Any] | None = None,
        **facts: Any,
    ) -> Call:
        """Add a call."""
        self.now += 10
        begin, end = at or (self.now, self.now + 5)
        number = f"{who}.{len(self.calls)}"
        call = Call(
            number, who, how, "b", name, begin, facts, outcome, answer or {}, end
        )
        self.calls.append(call)
        return call

    def event(
        self, kind: str, name: str, digest: str = "", nuid: str = "", text: str = ""
    ) -> int:
        """Add a change to the log."""
        seq = self.log[-1].seq + 1 if self.log else 1
        self.log.append(Event(seq, kind, name, digest, nuid or digest, text))
        return seq

    def put(self, name: str, digest: str, **facts: Any) -> int:
        """Add a put and its change."""
        seq = self.event("put", name, digest, text=f"text {digest}")
        answer = {"seq": seq, "digest": digest}
        text = f"text {digest}"
        self.call("put", name, answer=answer, digest=digest, text=text, **facts)
        return seq

    def open_put(self, name: str, digest: str, **facts: Any) -> None:
        """Add a put whose process was killed."""
        at = self.now + 10, NEVER
        text = f"text {digest}"
        self.call("put", name, OPEN, at=at, digest=digest, text=text, **facts)

    def delete(self, name: str, **facts: Any) -> int:
        """Add a deletion and its change."""
        self.call("delete", name, **facts)
        return self.event("delete", name)

    def read(self, name: str, seq: int, digest: str, **when: Any) -> None:
        """Add a read."""
        self.call("read", name, answer={"seq": seq, "digest": digest}, **when)

    def missing(self, name: str, **when: Any) -> None:
        """Add a read that found nothing."""
        self.call("read", name, MISSING, answer={"name": name}, **when)

    def sights(self) -> list[Sight]:
        """Give what a good watcher sees, long after."""
        return [Sight(event, 1e6, 1e6 + event.seq) for event in self.log]

    def wrong(self, **sights: list[Sight]) -> str:
        """Give what the checker finds, with the log as its witness."""
        return "\n".join(check(self.calls, self.log, sights).wrong)

    def wrong_without_log(self) -> str:
        """Give what the checker finds by the answers alone."""
        return "\n".join(check(self.calls, None, {}).wrong)


@pytest.fixture
def story() -> Story:
    """Give a story of two puts, a read, a deletion and what finds nothing."""
    story = Story()
    story.put("a", "A1")
    story.put("a", "A2")
    story.read("a", 2, "A2")
    story.put("b", "B1")
    story.delete("b")
    story.missing("b")
    return story


def test_good_history_passes(story: Story) -> None:
    """What explains itself is not refused, with and without the log."""
    assert story.wrong(watcher=story.sights()) == ""
    assert story.wrong_without_log() == ""


def test_counts_tell_how_much_was_checked(story: Story) -> None:
    """Operations, histories and names are counted."""
    counts = check(story.calls, story.log, {"w": story.sights()}).counts
    assert (counts["operations"], counts["names checked"]) == (6, 2)
    assert (counts["histories checked"], counts["changes watched"]) == (1, 4)


# --- writes ---------------------------------------------------------------------------


def test_lost_write_is_seen(story: Story) -> None:
    """An acknowledged put that the log does not have."""
    story.put("c", "C1")
    story.log.pop()
    assert "lost" in story.wrong()


def test_lost_deletion_is_seen(story: Story) -> None:
    """An acknowledged deletion that the log does not have."""
    story.delete("a")
    story.log.pop()
    assert "'a'" in story.wrong()


def test_lost_write_is_seen_without_the_log(story: Story) -> None:
    """A read behind two puts finds the first one's content."""
    story.read("a", 1, "A1")
    assert "'a'" in story.wrong_without_log()


def test_phantom_is_seen(story: Story) -> None:
    """A change that nobody made, and a deletion that nobody made."""
    story.event("put", "c", "C9")
    assert "nobody made" in story.wrong()
    story.log[-1] = Event(5, "delete", "a")
    assert "nobody" in story.wrong()


def test_two_winners_of_create_are_seen(story: Story) -> None:
    """Of two puts that make a name one has to be refused."""
    story.put("c", "C1", create=True)
    story.put("c", "C2", create=True)
    assert "'c'" in story.wrong()
    assert "'c'" in story.wrong_without_log()


def test_match_of_another_sequence_is_seen(story: Story) -> None:
    """A put that expects a sequence goes in behind that one only."""
    story.put("a", "A3", if_match=1)
    assert "'a'" in story.wrong()
    assert "'a'" in story.wrong_without_log()


def test_refusal_has_to_be_justified(story: Story) -> None:
    """Whoever is refused is told what was there at that moment."""
    story.call("put", "a", DIFFERS, answer={"actual": 2}, if_match=1)
    story.call("put", "a", EXISTS, answer={"name": "a", "actual": 2}, create=True)
    assert story.wrong() == ""
    story.call("put", "a", DIFFERS, answer={"actual": 1}, if_match=7)
    assert "'a'" in story.wrong()


def test_two_calls_with_one_sequence_are_seen(story: Story) -> None:
    """A sequence is one change's."""
    again = {"seq": 2, "digest": "A2"}
    story.call("put", "a", answer=again, digest="A2", text="other")
    assert "two calls" in story.wrong()


def test_other_content_is_seen(story: Story) -> None:
    """What the log has is what was put."""
    story.put("c", "C1")
    story.log[-1] = story.log[-1]._replace(digest="C2")
    assert "C2" in story.wrong()


def test_sequences_follow_time(story: Story) -> None:
    """A put that began behind another one's end has the greater sequence."""
    story.put("c", "C1")
    story.put("d", "D1")
    story.calls[-1], story.calls[-2] = (
        Call(*_fields(story.calls[-1], begin_ns=1.0, end_ns=2.0)),
        story.calls[-2],
    )
    assert "no moment" in story.wrong()


def _fields(call: Call, **changed: Any) -> list[Any]:
    names = Call.__slots__
    return [changed.get(name, getattr(call, name)) for name in names]


def test_failure_is_a_violation(story: Story) -> None:
    """An error that nothing explains is told."""
    story.call("put", "a", FAILED, answer={"error": "CorruptionError"})
    assert "CorruptionError" in story.wrong()


# --- unfinished calls -----------------------------------------------------------------


def test_killed_put_may_happen_or_not(story: Story) -> None:
    """Both are fine, at any time behind its begin."""
    story.open_put("a", "A3")
    assert story.wrong() == story.wrong_without_log() == ""
    story.read("a", 2, "A2")
    seq = story.event("put", "a", "A3", text="text A3")
    story.read("a", seq, "A3")
    assert story.wrong() == story.wrong_without_log() == ""


def test_refusal_may_be_the_first_to_tell_of_a_killed_put(story: Story) -> None:
    """Without the log its sequence is known from then on, and stays."""
    story.open_put("c", "C1", create=True)
    story.call("put", "c", EXISTS, answer={"name": "c", "actual": 9}, create=True)
    story.put("c", "C2", if_match=9)
    assert story.wrong_without_log() == ""
    story.call("put", "c", EXISTS, answer={"name": "c", "actual": 9}, create=True)
    assert "'c'" in story.wrong_without_log()


def test_killed_put_does_not_happen_twice(story: Story) -> None:
    """Once is all."""
    story.open_put("a", "A3")
    for _ in range(2):
        story.event("put", "a", "A3", text="text A3")
    assert "nobody made" in story.wrong()


def test_killed_put_does_not_happen_before_its_begin(story: Story) -> None:
    """Nobody sees what is not even asked for."""
    story.put("c", "C1")
    seq = story.event("put", "a", "A3", text="text A3")
    story.put("d", "D1")
    story.read("d", seq + 1, "D1")
    story.open_put("a", "A3")
    assert "no moment" in story.wrong()


def test_killed_deletion_may_happen_or_not(story: Story) -> None:
    """Both are fine."""
    story.call("delete", "a", OPEN, at=(story.now + 10, NEVER))
    assert story.wrong() == ""
    story.event("delete", "a")
    story.missing("a", at=(900, 901))
    assert story.wrong() == ""


def test_cancelled_put_does_not_happen_later(story: Story) -> None:
    """What was cut has happened when it comes back, or never does."""
    story.call("put", "a", CUT, digest="A3", text="text A3")
    assert story.wrong() == ""
    story.read("a", 2, "A2", at=(900, 901))
    seq = story.event("put", "a", "A3", text="text A3")
    story.read("a", seq, "A3", at=(902, 903))
    assert "'a'" in story.wrong()


def test_put_that_was_given_up_has_no_effect(story: Story) -> None:
    """Whoever got `BusyError` can rely on it."""
    story.call("put", "a", BUSY, digest="A3", text="text A3")
    assert story.wrong() == ""
    story.event("put", "a", "A3", text="text A3")
    assert "given up" in story.wrong()


# --- names that move ------------------------------------------------------------------


def _rename(story: Story, outcome: str = DONE) -> None:
    story.event("delete", "a")
    seq = story.event("put", "c", "A2", text="text A2")
    answer = {"seq": seq, "digest": "A2"} if outcome == DONE else {}
    at = None if outcome == DONE else (story.now + 10, NEVER)
    story.call("rename", "a", outcome, at=at, answer=answer, other="c")


@pytest.mark.parametrize("outcome", [DONE, OPEN])
def test_rename_is_one_moment(story: Story, outcome: str) -> None:
    """Both names change at once, also when its process was killed."""
    _rename(story, outcome)
    found: dict[str, Any] = {"c": [story.log[-1].seq, "A2"]}
    names = ["a", "b", "c"]
    story.call("list", "", answer={"found": found}, names=names, at=(900, 901))
    assert story.wrong() == ""
    story.call("list", "", answer={"found": {}}, names=names, at=(0, NEVER))
    assert story.wrong() == "", "before the first put"
    found = {"a": [2, "A2"], "c": [story.log[-1].seq, "A2"]}
    story.call("list", "", answer={"found": found}, names=names, at=(0, 999))
    assert "went back: no moment" in story.wrong()


def test_unfinished_copies_are_told_apart_by_time(story: Story) -> None:
    """Of two that may have made a change, it was the one that had the time to."""
    story.call("copy", "a", CUT, other="c")
    story.put("d", "D1")
    story.event("put", "c", "A2")
    story.call("copy", "a", OPEN, at=(story.now + 10, NEVER), other="c")
    assert story.wrong() == ""


def test_half_a_rename_is_seen(story: Story) -> None:
    """A name that came and did not go, or went and did not come."""
    _rename(story)
    del story.log[-2]
    assert "has left" in story.wrong()


def test_half_a_rename_of_a_killed_one_is_seen(story: Story) -> None:
    """As above."""
    _rename(story, OPEN)
    del story.log[-1]
    assert "nobody" in story.wrong()


def test_copy_is_of_what_was_there(story: Story) -> None:
    """Not of the version before."""
    seq = story.event("put", "c", "A1")
    story.call("copy", "a", answer={"seq": seq, "digest": "A1"}, other="c")
    assert "from" in story.wrong()


def test_new_description_keeps_the_content(story: Story) -> None:
    """A change of what is said changes nothing else."""
    seq = story.event("meta", "a", "A2", text="said")
    story.call("meta", "a", answer={"seq": seq, "digest": "A2"}, text="said")
    assert story.wrong() == ""
    story.log[-1] = story.log[-1]._replace(nuid="other")
    assert "changed more" in story.wrong()


# --- reads ----------------------------------------------------------------------------


def test_stale_read_is_seen(story: Story) -> None:
    """A read that began behind a put's end finds that one or a later one."""
    story.read("a", 1, "A1")
    assert "'a'" in story.wrong()


def test_read_beside_a_put_may_find_either(story: Story) -> None:
    """Old or new, while the put goes on."""
    story.read("a", 1, "A1", at=(18, 24))
    assert story.wrong() == story.wrong_without_log() == ""


def test_read_of_what_was_never_there_is_seen(story: Story) -> None:
    """Bytes of no version."""
    story.call("get", "a", answer={"digest": "A7"})
    assert "'a'" in story.wrong()
    assert "'a'" in story.wrong_without_log()


def test_process_that_goes_back_is_seen(story: Story) -> None:
    """Over two names: it saw the later change, then not the earlier one."""
    at = 0.0, NEVER
    story.put("c", "C1", at=at)
    story.put("d", "D1", at=at)
    story.call("read", "d", answer={"seq": 6, "digest": "D1"}, who="reader")
    story.missing("c", who="reader")
    assert "reader went back" in story.wrong()


def test_list_of_no_moment_is_seen(story: Story) -> None:
    """Two names as they never were at once."""
    at = 0.0, NEVER
    story.put("c", "C1", at=at)
    story.put("d", "D1", at=at)
    found = {"a": [2, "A2"], "d": [6, "D1"]}
    names = ["a", "c", "d"]
    story.call("list", "", answer={"found": found}, names=names)
    assert "no moment" in story.wrong()


# --- watches --------------------------------------------------------------------------


def test_reordered_watch_is_seen(story: Story) -> None:
    """Changes come in the order of the log."""
    sights = story.sights()
    sights[1], sights[2] = sights[2], sights[1]
    assert "saw as change 1" in story.wrong(watcher=sights)


@pytest.mark.parametrize("place", [0, 2, 3])
def test_skipped_change_is_seen(story: Story, place: int) -> None:
    """None is left out, the last one neither."""
    sights = story.sights()
    del sights[place]
    assert "watcher saw" in story.wrong(watcher=sights)


def test_repeated_change_is_seen(story: Story) -> None:
    """None comes twice."""
    sights = story.sights()
    assert "watcher saw" in story.wrong(watcher=[*sights, sights[-1]])


def test_change_before_it_is_visible_is_seen(story: Story) -> None:
    """A reader that began behind the watcher's sight finds it."""
    story.put("c", "C1", at=(0.0, NEVER))
    sights = story.sights()
    story.missing("c", at=(1e6 + 10, 1e6 + 11))
    assert "no moment" in story.wrong(watcher=sights)


# --- journals -------------------------------------------------------------------------


def test_journal_is_read_up_to_the_line_in_flight() -> None:
    """A call without an end is open; half a line does not count."""
    lines = [
        '["call", "1", "put", "b", "n", {"digest": "D"}, 5]\n',
        '["back", "1", "done", {"seq": 1, "digest": "D"}, 9]\n',
        '["saw", [1, "put", "n", "D", "N", ""], "cursor", 11]\n',
        '["call", "2", "put", "b", "n", {}, 12]\n',
        '["back", "2", "done", {"se',
    ]
    journal = read_journal("p", lines)
    assert [call.outcome for call in journal.calls] == [DONE, OPEN]
    assert journal.sights[0].event == Event(1, "put", "n", "D", "N", "")
    assert (journal.cursor, journal.sights[0].given_ns) == ("cursor", 11)

"""What the oracle of the real disks notices: each kind of loss, and no allowed one."""

from __future__ import annotations

import dataclasses
from typing import Any

from tests.torture.disk_oracle import Act, Oracle, acts_of
from tests.torture.disk_steps import BUCKETS

PUT = ("put", "n/0", "digest", "")


def _act(bucket: str, seq: int, **facts: Any) -> Act:
    """Make an acknowledged put of one writer."""
    state = "done" if seq else "unknown"
    plain = Act("w", 0, "put", bucket, "n/0", "", "digest", "", state=state, seq=seq)
    return dataclasses.replace(plain, **facts)


def _found(**seen: Any) -> dict[str, Any]:
    """Give what an inspector tells of a store, by bucket."""
    empty: dict[str, Any] = {"feed": [], "listed": [], "bad": []}
    objects = {name: {**empty, **seen.get(name, {})} for name in BUCKETS}
    return {"buckets": list(BUCKETS), "damaged": [], "objects": objects}


def _fed(*sequences: int) -> dict[str, Any]:
    """Give a feed of puts over one name."""
    listed = [(sequences[-1], *PUT[1:])] if sequences else []
    return {"feed": [(seq, *PUT) for seq in sequences], "listed": listed}


def _judge(acts: list[Act], **seen: Any) -> list[str]:
    return Oracle(acts).judge(_found(**seen), is_firm=True)


def test_whole_history_is_fine() -> None:
    """Acknowledged changes that are all there, and one that nobody was told of."""
    acts = [_act("kept", 2), _act("kept", 4), _act("kept", 0)]
    assert _judge(acts, kept=_fed(2, 4, 6)) == []
    assert acts[2].seq == 6


def test_missing_acknowledged_change_is_noticed() -> None:
    """A bucket that syncs always may lose nothing, not even the last."""
    (wrong,) = _judge([_act("kept", 2), _act("kept", 4)], kept=_fed(2))
    assert wrong.startswith("kept: acknowledged, and missing")


def test_relaxed_bucket_may_lose_its_end() -> None:
    """The last changes may be missing."""
    acts = [_act("never", seq) for seq in (2, 4, 6)]
    assert _judge(acts, never=_fed(2)) == []
    assert [act.state for act in acts] == ["done", "lost", "lost"]


def test_relaxed_bucket_may_lose_no_middle() -> None:
    """A change that is there has all before it."""
    acts = [_act("never", seq) for seq in (2, 4, 6)]
    (wrong,) = _judge(acts, never=_fed(2, 6))
    assert "is missing, and behind it is" in wrong


def test_late_sync_is_noticed() -> None:
    """What was told seconds before the cut had to be synced."""
    oracle = Oracle([_act("soon", 2, told_s=1.0)], cuts_s=[9.0])
    (wrong,) = oracle.judge(_found(), is_firm=True)
    assert wrong.startswith("soon: acknowledged 2.0 s before")


def test_what_was_on_the_disk_stays() -> None:
    """Not even a relaxed bucket loses what was read after a cut."""
    oracle = Oracle([_act("never", 2)])
    assert oracle.judge(_found(never=_fed(2)), is_firm=True) == []
    (wrong,) = oracle.judge(_found(), is_firm=True)
    assert wrong.startswith("never: it was on the disk before")


def test_lost_change_that_comes_back_is_noticed() -> None:
    """What was looked for and not found never appears later."""
    oracle = Oracle([_act("never", 2)])
    assert oracle.judge(_found(), is_firm=True) == []
    (wrong,) = oracle.judge(_found(never=_fed(2)), is_firm=True)
    assert wrong.startswith("never: nobody made change 2")


def test_sequence_given_twice_is_noticed() -> None:
    """Also when the first holder was lost, as a relaxed bucket may."""
    acts = [_act("never", 2, state="lost"), _act("never", 2, generation=1)]
    wrong = _judge(acts, never=_fed(2))
    assert any("have one sequence" in text for text in wrong)
    assert any("was given after" in text for text in wrong)


def test_half_a_rename_is_noticed() -> None:
    """Both names of a rename change, or none."""
    rename = _act("kept", 4, how="rename", other="n/1")
    half = {"feed": [(2, *PUT), (4, "put", "n/1", "digest", "")]}
    listed = [(2, *PUT[1:]), (4, "n/1", "digest", "")]
    wrong = _judge([_act("kept", 2), rename], kept={**half, "listed": listed})
    assert any("acknowledged, and missing" in text for text in wrong)


def test_list_that_differs_from_the_feed_is_noticed() -> None:
    """The catalog says what the log says."""
    (wrong,) = _judge([_act("kept", 2)], kept={**_fed(2), "listed": []})
    assert wrong == "kept/n/0: fed (2, 'n/0', 'digest', ''), listed None"


def test_names_without_history_are_old_or_new() -> None:
    """Where changes go at once, a name holds its last content or the unknown one."""
    acts = [_act("brief", 2), _act("brief", 0, digest="new")]
    for digest in ("digest", "new"):
        copies = [dataclasses.replace(act) for act in acts]
        assert _judge(copies, brief={"listed": [(4, "n/0", digest, "")]}) == []
    (wrong,) = _judge(acts, brief={"listed": [(4, "n/0", "other", "")]})
    assert "acknowledged and found differ" in wrong


def test_nobodys_bucket_is_noticed() -> None:
    """Buckets are what their writers made."""
    found = _found()
    found["buckets"].append("x")
    assert Oracle().judge(found, is_firm=True) == [": nobody made x"]


def test_what_does_not_read_is_noticed() -> None:
    """Damage and content that does not match its digest are told by name."""
    found = _found(kept={"bad": ["a"]})
    found["damaged"] = ["segment 1"]
    assert Oracle().judge(found, is_firm=True) == [
        "damage: segment 1",
        "kept/a does not read",
    ]


def test_account_behind_the_cut_proves_nothing() -> None:
    """A program that ran on without power was told of no real sync."""
    told = {"how": "put", "bucket": "kept", "name": "n", "digest": "", "other": ""}
    lines: list[list[Any]] = [
        ["try", told],
        ["done", 2, 4.0],
        ["try", told],
        ["done", 4, 6.0],
    ]
    before, behind = acts_of("w", 0, lines, cut_s=5.0)
    assert (before.state, before.seq) == ("done", 2)
    assert (behind.state, behind.seq) == ("unknown", 0)

"""A wall clock that jumps hides too much or too little, and destroys nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.worlds import World

from objstore import ObjectNotFoundError, Store
from objstore._clock_trust import DISAGREEMENT_S, GRACE_S, NS_PER_S, ClockTrust

DAY_S = 86_400
START_NS = 1_700_000_000 * NS_PER_S
on_files = pytest.mark.parametrize("engine_name", ["file", "memory"], indirect=True)


@pytest.mark.anyio
@on_files
async def test_jump_forward_hides_and_purges_nothing(
    store: Store, world: World
) -> None:
    """What an hour's step or more makes due comes back when the clock does."""
    bucket = await store.create_object_store("b")
    await bucket.put("a", b"content", ttl=DAY_S)
    world.advance(30 * DAY_S)
    with pytest.raises(ObjectNotFoundError):
        await bucket.get("a")
    assert [] == await bucket.list()
    report = await store.run_retention()
    world.advance(-30 * DAY_S)

    assert (0, 0) == (report.expired, report.removed)
    assert b"content" == await bucket.get("a")


@pytest.mark.anyio
@on_files
async def test_small_step_is_believed(store: Store, world: World) -> None:
    """A step of less than an hour may be time that passed."""
    bucket = await store.create_object_store("b")
    await bucket.put("a", b"content", ttl=60)
    world.advance(DISAGREEMENT_S - 60)

    assert 1 == (await store.run_retention()).expired


@pytest.mark.anyio
@on_files
async def test_jump_forward_keeps_the_changes(store: Store, world: World) -> None:
    """The change floor does not rise by days that never were."""
    bucket = await store.create_object_store("b", changes_ttl=DAY_S)
    await bucket.put("a", b"1")
    await bucket.put("a", b"2")
    world.advance(30 * DAY_S)
    await store.run_retention()

    assert 1 == (await bucket.status()).first_change


def test_doubt_ends_after_a_grace() -> None:
    """A clock that stays where it jumped to is right in the end."""
    trust = ClockTrust(START_NS, 0.0)
    jumped_ns = START_NS + 30 * DAY_S * NS_PER_S
    assert trust.purge_ns(jumped_ns, 1.0) == START_NS + NS_PER_S
    later_ns = jumped_ns + (GRACE_S - 1) * NS_PER_S
    assert trust.purge_ns(later_ns, float(GRACE_S)) < jumped_ns
    later_ns += 2 * NS_PER_S
    assert trust.purge_ns(later_ns, GRACE_S + 2.0) == later_ns


def test_doubt_ends_when_the_clock_is_put_right() -> None:
    """The grace begins anew with the next jump."""
    trust = ClockTrust(START_NS, 0.0)
    away_ns = 30 * DAY_S * NS_PER_S
    assert trust.purge_ns(START_NS + away_ns, 0.0) == START_NS
    half_ns = GRACE_S // 2 * NS_PER_S
    assert trust.purge_ns(START_NS + half_ns, GRACE_S / 2) == START_NS + half_ns
    end_ns = START_NS + GRACE_S * NS_PER_S
    assert trust.purge_ns(end_ns + away_ns, float(GRACE_S)) == end_ns


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 3 * GRACE_S), st.integers(-100 * DAY_S, 100 * DAY_S)),
        max_size=20,
    )
)
def test_purging_never_runs_ahead_of_either_clock(steps: list[tuple[int, int]]) -> None:
    """Not of the wall clock ever, of the steady one for no longer than the grace."""
    trust = ClockTrust(START_NS, 0.0)
    steady_s = jumped_s = 0
    for passed_s, jump_s in steps:
        steady_s += passed_s
        jumped_s += jump_s
        wall_ns = START_NS + (steady_s + jumped_s) * NS_PER_S
        purge_ns = trust.purge_ns(wall_ns, float(steady_s))
        assert purge_ns <= wall_ns
        if steady_s < GRACE_S:
            slack_ns = DISAGREEMENT_S * NS_PER_S
            assert purge_ns <= START_NS + steady_s * NS_PER_S + slack_ns

"""Telling the owners of a batch: all of them first, then those who wait for several."""

from __future__ import annotations

import pytest

from objstore_log._tickets import Ticket, tell


def test_waking_comes_once_behind_everybody() -> None:
    """Who shares what wakes them is woken when all of them were told."""
    told: list[str] = []

    def wake() -> None:
        told.append("wake")

    tickets = [
        Ticket([], {}, None, True, lambda _: told.append("done")) for _ in range(3)
    ]
    for ticket in tickets[:2]:
        ticket.wake = wake
    tell(tickets)
    assert ["done", "done", "done", "wake"] == told


def test_interrupt_while_one_is_told_leaves_nobody_out() -> None:
    """The others are told and woken, then it goes on."""
    told: list[str] = []

    def interrupt(_: Ticket) -> None:
        raise KeyboardInterrupt

    first = Ticket([], {}, None, True, interrupt)
    second = Ticket([], {}, None, True, lambda _: told.append("done"))
    second.wake = lambda: told.append("wake")
    with pytest.raises(KeyboardInterrupt):
        tell([first, second])
    assert ["done", "wake"] == told

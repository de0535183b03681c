"""The event loop's thread is let in soon, and no other thread is."""

import os
import threading
from pathlib import Path

import pytest

from service.scheduling import ask_for_short_slices


def slice_ns() -> int:
    """Of the calling thread, as the kernel tells."""
    lines = Path(f"/proc/self/task/{threading.get_native_id()}/sched").read_text().splitlines()
    return next((int(line.split()[-1]) for line in lines if line.startswith("se.slice")), 0)


def in_a_thread(measure: "list[int]", *, asking: bool) -> None:
    """A thread of its own, so that the test's keeps what it has; and one that it makes."""

    def outer() -> None:
        if asking:
            measure.append(int(ask_for_short_slices()))
        measure.append(slice_ns())
        inner = threading.Thread(target=lambda: measure.append(slice_ns()))
        inner.start()
        inner.join()

    thread = threading.Thread(target=outer)
    thread.start()
    thread.join()


@pytest.mark.skipif(not Path("/proc/self/sched").exists(), reason="the kernel does not tell a thread's slice")
def test_the_asking_thread_has_short_slices_and_those_it_makes_the_usual() -> None:
    """Where the kernel knows no such wish (before Linux 6.12), nothing changes."""
    usual: list[int] = []
    asked: list[int] = []
    in_a_thread(usual, asking=False)
    in_a_thread(asked, asking=True)
    taken, mine, childs = asked
    if taken and mine != usual[0]:
        assert mine < usual[0]
    assert childs == usual[1]


def test_the_policy_and_the_niceness_stay() -> None:
    seen: list[tuple[int, int]] = []

    def look() -> None:
        for ask in (False, True):
            if ask:
                ask_for_short_slices()
            seen.append((os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, os.getpriority(os.PRIO_PROCESS, 0)))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen[0] == seen[1]

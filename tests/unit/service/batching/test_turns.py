"""Whose turn it is, among callers who send much and little."""

from service.batching.turns import CREDIT, Turns


def test_one_caller_alone_is_served_as_it_came() -> None:
    """Nobody to share with: turns only grow."""
    turns = Turns()
    drawn = [turns.enter("me")[0] for _ in range(50)]
    assert drawn == sorted(drawn)


def test_who_asks_for_little_comes_before_all_that_another_has_sent() -> None:
    """A hundred of one caller wait; the first image of another is next."""
    turns = Turns()
    flood = [turns.enter("flood")[0] for _ in range(100)]
    for _ in range(CREDIT):
        turns.leave("flood")
    turns.advance(flood[CREDIT])
    turn, is_owed = turns.enter("little")
    assert turn < flood[CREDIT] and is_owed
    assert not turns.enter("flood")[1]


def test_two_who_both_send_much_alternate() -> None:
    """Once its credit is used, a second caller shares image by image with the first."""
    turns = Turns()
    first = [turns.enter("first")[0] for _ in range(100)]
    turns.advance(first[0])
    second = [turns.enter("second")[0] for _ in range(100)]
    order = sorted([*((turn, "first") for turn in first), *((turn, "second") for turn in second)])
    served = [name for _, name in order[2 * CREDIT : 150]]
    assert abs(served.count("first") - served.count("second")) <= 2


def test_what_never_ran_is_soon_forgiven() -> None:
    """A thousand sent and given up: the next one stands no further back than somebody with nothing inside."""
    turns = Turns()
    for _ in range(1000):
        turns.enter("impatient")
        turns.leave("impatient")
    assert turns.of_next("impatient") <= turns.of_next("new") + CREDIT


def test_callers_long_gone_are_not_remembered() -> None:
    """Ten thousand names pass; the turns of those who come back are those of newcomers."""
    turns = Turns()
    for number in range(10_000):
        turns.advance(number)
        turns.enter(f"caller {number}")
        turns.leave(f"caller {number}")
    assert turns.of_next("caller 5") == turns.of_next("new")

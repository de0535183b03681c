"""A few of the inputs that `make fuzz-wire` sends by the hundred thousand."""

from tests.fuzz.over_the_wire import main


def test_strange_bytes_are_answered_as_the_callers_mistake() -> None:
    """No 5xx, no broken connection, a server that goes on."""
    assert main(count=400, seed=1_000_000) == 0

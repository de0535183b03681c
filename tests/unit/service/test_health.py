"""Who is welcome in which state."""

import pytest

from service.errors import NotReady
from service.health import Health, State


def welcome(*states: State) -> tuple[bool, bool]:
    """Whether requests, and changes of models, are accepted after these states in turn."""
    health = Health()
    for state in states:
        health.become(state)
    accepted = []
    for check in (health.check_accepting, health.check_steady):
        try:
            check()
        except NotReady as error:
            assert error.retry_after_s and health.state.value in str(error)
            accepted.append(False)
        else:
            accepted.append(True)
    return accepted[0], accepted[1]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((), (False, False)),
        ((State.READY,), (True, True)),
        ((State.READY, State.STALLED), (False, False)),
        ((State.READY, State.STALLED, State.READY), (True, True)),
        ((State.READY, State.DRAINING), (True, False)),
    ],
)
def test_a_draining_service_answers_and_is_not_changed(states: tuple[State, ...], expected: tuple[bool, bool]) -> None:
    assert welcome(*states) == expected


@pytest.mark.parametrize("before", [(), (State.READY, State.STALLED)])
def test_a_service_that_was_not_ready_when_told_to_stop_refuses(before: tuple[State, ...]) -> None:
    """It has no model, or an engine that hangs: 503 with a time to come back, not a model that does not exist."""
    assert welcome(*before, State.DRAINING) == (False, False)

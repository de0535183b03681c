"""starting / ready / stalled / draining: one state, read by every door."""

from collections.abc import Callable
from enum import Enum

from service.errors import NotReady


class State(Enum):
    STARTING = "starting"
    READY = "ready"
    STALLED = "stalled"  # an engine hangs or fails on everything: not alive
    DRAINING = "draining"


class Health:
    """The service's state. Listeners are told of every change (gRPC health serves push)."""

    def __init__(self) -> None:
        self._state, self._answers = State.STARTING, False
        self._listeners: list[Callable[[State], None]] = []

    @property
    def state(self) -> State:
        return self._state

    def on_change(self, listener: Callable[[State], None]) -> None:
        self._listeners.append(listener)

    def become(self, state: State) -> None:
        self._answers = state is State.READY or (state is State.DRAINING and self._answers)
        self._state = state
        for listener in self._listeners:
            listener(state)

    def check_accepting(self) -> None:
        """
        Raises NotReady unless requests are answered.

        Who still reaches a draining service knows of no other; one that was not ready before has no answer for them.
        """
        self._refuse_unless(self._answers)

    def check_steady(self) -> None:
        """Raises NotReady unless the service is ready and means to stay: models are changed only then."""
        self._refuse_unless(self._state is State.READY)

    def _refuse_unless(self, welcome: bool) -> None:
        if not welcome:
            error = NotReady(f"The service is {self._state.value}; try again shortly or elsewhere.")
            error.retry_after_s = 1.0
            raise error

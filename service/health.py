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
        self._state = State.STARTING
        self._listeners: list[Callable[[State], None]] = []

    @property
    def state(self) -> State:
        return self._state

    def on_change(self, listener: Callable[[State], None]) -> None:
        self._listeners.append(listener)

    def become(self, state: State) -> None:
        self._state = state
        for listener in self._listeners:
            listener(state)

    def check_accepting(self) -> None:
        """Raises NotReady unless new requests are welcome."""
        if self._state is not State.READY:
            error = NotReady(f"The service is {self._state.value}; try again shortly or elsewhere.")
            error.retry_after_s = 1.0
            raise error

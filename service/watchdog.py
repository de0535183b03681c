"""Watches the engines' heartbeat: a pod whose engine hangs or fails on everything is neither ready nor alive."""

import asyncio
import time

import numpy as np
import structlog

from service.detections import NmsOptions
from service.detector import Work
from service.errors import Overloaded, ServiceError
from service.health import Health, State
from service.models import Models, ServedModel

_PERIOD_S = 0.5
_SUSPICIOUS_FAILURES = 3  # images in a row; a picture of our own then tells a bad engine from bad pictures
_NOTHING = NmsOptions(1.0, 0.5, "hard", False, 1, None)
_log = structlog.get_logger("watchdog")


class Watchdog:
    """Turns health from ready to stalled, and back should the engines recover before anybody restarts the pod."""

    def __init__(self, models: Models, health: Health, hang_s: float) -> None:
        """hang_s: seconds a batch may run before its engine counts as hanging."""
        self._models, self._health, self._hang_s = models, health, hang_s

    async def watch(self) -> None:
        """Look forever."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            await self.look()

    async def look(self) -> None:
        """Judge every engine once."""
        found = [(model, await self._illness(model)) for model in self._models.all()]
        ill = [f"{model.id.name} {model.id.version}: {illness}" for model, illness in found if illness]
        if ill and self._health.state is State.READY:
            _log.error("stalled", reasons=ill)
            self._health.become(State.STALLED)
        elif not ill and self._health.state is State.STALLED:
            _log.warning("recovered")
            self._health.become(State.READY)

    async def _illness(self, model: ServedModel) -> str | None:
        batcher = model.batcher
        if batcher.has_died:
            return "the thread of its engine has ended"
        if (running_s := batcher.running_s()) > self._hang_s:
            return f"a batch has been running for {running_s:.1f} s, {self._hang_s:g} are allowed"
        if batcher.failures_in_a_row >= _SUSPICIOUS_FAILURES and not await self._answers(model):
            return f"its engine has failed {batcher.failures_in_a_row} times in a row, on an empty picture too"
        return None

    async def _answers(self, model: ServedModel) -> bool:
        """Whether the engine gets through an empty canvas; yes also where it is too busy to be asked."""
        height, width = min(model.bundle.manifest.preprocess.canvas_grid, key=lambda hw: hw[0] * hw[1])
        work = Work(np.zeros((height, width, 3), np.uint8), (height, width), _NOTHING, False)
        try:
            with model.batcher.admit(time.monotonic() + self._hang_s, high=True) as ticket:
                await model.batcher.submit(ticket, work, (height, width), height * width)
        except Overloaded as error:
            return error.reason == "deadline"
        except ServiceError:
            return False
        return True

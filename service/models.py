"""The models being served: by name and version, the first loaded is the default."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from service.batching import Batcher
from service.bundle import Bundle
from service.detections import ModelId
from service.detector import Found, Work
from service.engine.base import Engine
from service.errors import BundleInvalid, ModelNotFound


class Uses:
    """Requests that have chosen a model and are not yet answered: an unload waits for them."""

    def __init__(self) -> None:
        self._count, self._none = 0, asyncio.Event()
        self._none.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Held from choosing the model to the answer."""
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._none.set()

    async def none_left(self) -> None:
        await self._none.wait()


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A bundle with the engine it is loaded into and the batcher in front of that engine."""

    bundle: Bundle
    engine: Engine
    batcher: Batcher[Work, Found]
    uses: Uses = field(default_factory=Uses)

    @property
    def id(self) -> ModelId:
        return self.bundle.id

    @property
    def segments(self) -> bool:
        return self.bundle.manifest.task == "segmentation"

    @property
    def finds_keypoints(self) -> bool:
        return self.bundle.manifest.task == "keypoints"


class Models:
    """All served models. Read by every door, changed by the composition root and the repository."""

    def __init__(self) -> None:
        self._served: list[ServedModel] = []
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call listener whenever a model comes or goes."""
        self._listeners.append(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def add(self, model: ServedModel) -> None:
        """Raises BundleInvalid if the same name and version is served already."""
        if any((m.id.name, m.id.version) == (model.id.name, model.id.version) for m in self._served):
            raise BundleInvalid(f"{model.bundle.root}: {model.id.name} {model.id.version} is served already")
        self._served.append(model)
        self._tell()

    def swap_in(self, model: ServedModel) -> tuple[ServedModel, ...]:
        """Serve model in place of every version of its name, at once; returns those it replaced, still running."""
        replaced = self.versions(model.id.name)
        place = self._served.index(replaced[0]) if replaced else len(self._served)
        kept = [served for served in self._served if served not in replaced]
        self._served = [*kept[:place], model, *kept[place:]]
        self._tell()
        return replaced

    def take_out(self, model: ServedModel) -> None:
        """Answer no further request with model; those it has may finish."""
        self._served = [served for served in self._served if served is not model]
        self._tell()

    def versions(self, name: str) -> tuple[ServedModel, ...]:
        """Every served version of a name, in order; none if there is none."""
        return tuple(model for model in self._served if model.id.name == name)

    def all(self) -> tuple[ServedModel, ...]:
        return tuple(self._served)

    def get(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """The model asked for; without a name the default. Raises ModelNotFound naming what is served."""
        for model in self._served:
            if name in (None, model.id.name) and version in (None, model.id.version):
                return model
        served = ", ".join(f"{m.id.name} {m.id.version}" for m in self._served) or "none"
        asked = f"{name or 'default'}{f' version {version}' if version else ''}"
        raise ModelNotFound(f"No model {asked} is served here. Served: {served}.")

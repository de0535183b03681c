"""The models being served: by name and version, the first loaded is the default."""

from dataclasses import dataclass

from service.batching import Batcher
from service.bundle import Bundle
from service.detections import ModelId
from service.detector import Found, Work
from service.engine.base import Engine
from service.errors import BundleInvalid, ModelNotFound


@dataclass(frozen=True)
class ServedModel:
    """A bundle with the engine it is loaded into and the batcher in front of that engine."""

    bundle: Bundle
    engine: Engine
    batcher: Batcher[Work, Found]

    @property
    def id(self) -> ModelId:
        return ModelId(self.bundle.manifest.name, self.bundle.manifest.version, self.bundle.digest)

    @property
    def segments(self) -> bool:
        return self.bundle.manifest.task == "segmentation"

    @property
    def finds_keypoints(self) -> bool:
        return self.bundle.manifest.task == "keypoints"


class Models:
    """All served models. Read by every door, changed only by the composition root."""

    def __init__(self) -> None:
        self._served: list[ServedModel] = []

    def add(self, model: ServedModel) -> None:
        """Raises BundleInvalid if the same name and version is served already."""
        if any((m.id.name, m.id.version) == (model.id.name, model.id.version) for m in self._served):
            raise BundleInvalid(f"{model.bundle.root}: {model.id.name} {model.id.version} is served already")
        self._served.append(model)

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

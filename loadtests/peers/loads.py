"""What the servers are asked: an engine, and pictures of one or of many sizes."""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.peers.job import Engine
from loadtests.pictures import SHIPPED, Picture, read_pictures, resize_to, spread_sizes_wh

MODEL = "blood-cells"
ONE_SIZE_WH = (640, 480)
"""Of the model's own images."""
WIDEST = 2.0
SIDES_PX: dict[Engine, int] = {"fake": 64, "onnx": 554}
"""Square roots of the images' areas: small for the fake engine, so that not decoding but serving is measured; else
that of the model's own images."""


@dataclass(frozen=True, slots=True)
class Load:
    """One column of the table."""

    engine: Engine
    sizes: int

    @property
    def name(self) -> str:
        return f"{self.engine}-{self.sizes}"

    @property
    def first_rate_per_s(self) -> float:
        """Where a search begins that knows nothing."""
        return 200.0 if self.engine == "fake" else 16.0

    def pictures(self) -> list[Picture]:
        """The model's golden images in each of the sizes, as PNG."""
        originals = read_pictures(next((SHIPPED / MODEL).glob("*/golden")))
        return resize_to(originals, self._sizes_wh())

    def _sizes_wh(self) -> list[tuple[int, int]]:
        side_px = SIDES_PX[self.engine]
        if self.sizes > 1:
            return spread_sizes_wh(self.sizes, side_px, WIDEST)
        scale = side_px / (ONE_SIZE_WH[0] * ONE_SIZE_WH[1]) ** 0.5
        return [(round(ONE_SIZE_WH[0] * scale), round(ONE_SIZE_WH[1] * scale))]


LOADS = tuple(Load(engine, sizes) for engine in SIDES_PX for sizes in (1, 16))
BY_NAME = {load.name: load for load in LOADS}


def by_engine(loads: Sequence[Load]) -> dict[Engine, list[Load]]:
    """A server is started once an engine."""
    engines: dict[Engine, list[Load]] = {}
    for load in loads:
        engines.setdefault(load.engine, []).append(load)
    return engines

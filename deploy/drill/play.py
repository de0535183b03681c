"""What a drill does things with: the service that it starts, slows down and kills, and the traffic to it."""

import os
import random
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy.drill.stage import Stage
from deploy.drill.stand_in import gpus_told_of
from deploy.drill.traffic import Ask, traffic
from deploy.drill.watched import encoded, lit, ordinary_pictures, watched_bundle
from loadtests.serving import Service, serving

_ZOO = Path(__file__).parents[2] / "model/zoo"
_IMAGE = sorted(_ZOO.glob("nuclei/1/golden/*.png"))[0]
_CELLS = sorted(_ZOO.glob("blood-cells/1/golden/*.jpg"))[0]


class Play:
    """One drill under way. But in serve_shipped the engine is the fake one, as slow and as faulty as told to be."""

    def __init__(self, here: Stage) -> None:
        self.here = here
        self._fault = here.folder / "fault"
        self._running: ExitStack | None = None
        self._service: Service | None = None
        self.gpu_cards: list[str] = []
        self.light = 1.0  # on what watched_traffic sends

    def serve(self, **settings: object) -> None:
        """Start the service, in place of the one that runs, with settings as `rcnn serve --help` names them."""
        self.stop()
        usual = {"engine": "fake", "bundles": _ZOO / "nuclei", "fake_engine_fault_file": self._fault}
        self._running = ExitStack()
        self._service = self._running.enter_context(serving({**self.here.ports, **usual, **settings}))

    def serve_shipped(self) -> None:
        """As `rcnn serve` does without a setting: the shipped models on the engine that it chooses."""
        self._running = ExitStack()
        self._service = self._running.enter_context(serving(self.here.ports))

    def stop(self) -> None:
        """As Kubernetes does: SIGTERM, and wait."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def kill(self) -> None:
        """As the kernel does for want of memory: SIGKILL."""
        assert self._service is not None
        os.kill(self._service.pid, signal.SIGKILL)
        self.stop()

    def break_engine(self) -> None:
        """From the next batch on, the engine raises."""
        self._fault.write_text("raise")

    def blind_bundle(self) -> Path:
        """The shipped model with a score threshold that next to nothing passes: a slip in a manifest."""
        folder = self.here.folder / "blind/1"
        shutil.copytree(_ZOO / "nuclei/1", folder)
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"score_threshold": 0.5', '"score_threshold": 0.99'))
        return folder.parent

    @contextmanager
    def watched_traffic(self, per_second: float) -> Iterator[None]:
        """A service that looks out for drift, and pictures like those of its baseline, under the light there is."""
        pictures, chance = ordinary_pictures(_IMAGE), random.Random(1)
        bundles = watched_bundle(_ZOO / "nuclei/1", self.here.folder / "watched/1", pictures)
        self.serve(bundles=bundles, drift_images_per_s=2 * per_second)

        def ask(_: int) -> Ask:
            return Ask("nuclei", encoded(lit(chance.choice(pictures), self.light)))

        try:
            with traffic(self.here.url, per_second, ask):
                yield
        finally:
            self.stop()

    @contextmanager
    def two_gpus_told_of(self) -> Iterator[None]:
        """A stand-in on the metrics port, where there is no GPU: it tells of those in gpu_cards, which may change."""
        self.gpu_cards = ["0", "1"]
        with gpus_told_of(self.here.metrics_port, self.gpu_cards):
            yield


def ordinary(_: int) -> Ask:
    """The same small image every time."""
    return Ask("nuclei", _IMAGE.read_bytes())


def shipped(number: int) -> Ask:
    """A picture to each of the shipped models in turn."""
    if number % 2:
        return Ask("blood-cells", _CELLS.read_bytes(), {"Content-Type": "image/jpeg"})
    return ordinary(number)

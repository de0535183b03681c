"""
Everything that a dashboard can show, at the same time: the shipped models, some of whose callers are hasty, a pod with
a shadowed candidate, drift and samples, a judge that is asked about the candidate, and a stand-in for GPUs.

    python -m deploy.drill.scene --out docs/dashboards    draws every dashboard from two minutes of it
"""

import argparse
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from deploy.dashboards.__main__ import COMMITTED
from deploy.dashboards.pictures import Window, draw_all
from deploy.drill.prometheus import Prometheus, free_port
from deploy.drill.stage import Stage, stage
from deploy.drill.stand_in import gpus_told_of
from deploy.drill.traffic import Ask, traffic
from deploy.judge.prometheus import Prometheus as Counted
from deploy.judge.server import create_server
from deploy.judge.shadow_gate import Policy
from loadtests.serving import serving
from service.logs import configure_logs

_ZOO = Path(__file__).parents[2] / "model/zoo"
_CANDIDATE, _ASK_EVERY_S = "v2", 2.0


def mixed(number: int) -> Ask:
    """Mostly ordinary requests to both models, some for masks; some broken, hurried or impatient ones."""
    nuclei = sorted(_ZOO.glob("nuclei/1/golden/*.png"))
    cells = sorted(_ZOO.glob("blood-cells/1/golden/*.jpg"))
    match number % 8:
        case 5:
            return Ask("nuclei", b"no picture")
        case 6:
            return Ask("nuclei", nuclei[0].read_bytes(), {"X-Request-Timeout-Ms": "1"})
        case 7:
            return Ask("nuclei", nuclei[1].read_bytes(), patience_s=0.03)
        case 0 | 4:
            return Ask("nuclei", nuclei[0].read_bytes(), options={"masks": "rle"})
        case 1 | 3:
            return Ask("blood-cells", cells[number % 3].read_bytes(), {"Content-Type": "image/jpeg"})
    return Ask("nuclei", nuclei[number % 3].read_bytes())


def varied(number: int) -> Ask:
    """Two small pictures and a large one, in turn; one caller in five has not the time that a batch takes."""
    hurried = {"X-Request-Timeout-Ms": "50"} if number % 5 == 4 else {}
    return Ask("nuclei", sorted(_ZOO.glob("nuclei/1/golden/*.png"))[number % 3].read_bytes(), hurried)


@contextmanager
def everything() -> Iterator[Prometheus]:
    """Under way until the block ends. Raises NoPrometheus, NoAlertmanager."""
    judge, gpus, watched = free_port(), free_port(), free_port()
    with stage(beside=[judge, gpus, watched]) as here, ExitStack() as running:
        running.enter_context(gpus_told_of(gpus, ["0", "1"]))
        running.enter_context(serving({**here.ports, "engine": "onnx"}))
        url = running.enter_context(_with_a_candidate(here, watched))
        running.enter_context(traffic(here.url, 3, mixed))
        running.enter_context(traffic(url, 5, varied))
        running.enter_context(_asked_judge(judge, here.prometheus.url))
        yield here.prometheus


@contextmanager
def _with_a_candidate(here: Stage, metrics_port: int) -> Iterator[str]:
    """A pod on the fake engine that asks a candidate about small pictures, looks for drift and keeps samples."""
    # A batch takes longer than the next request is away: no hurried one finds an idle engine, which would try it.
    usual = {"engine": "fake", "bundles": _ZOO / "nuclei", "fake_engine_delay_ms": 300}
    kept = {"samples_url": here.folder / "samples", "samples_unencrypted": True, "samples_random_share": 1}
    with serving({**usual, "release": _CANDIDATE}) as candidate:
        asks = {"shadow_url": candidate.url, "shadow_share": 1, "shadow_queue_mb": 0.1, "release": "v1"}
        with serving({**usual, **kept, **asks, "drift_images_per_s": 20, "metrics_port": metrics_port}) as stable:
            yield stable.url


@contextmanager
def _asked_judge(port: int, prometheus_url: str) -> Iterator[None]:
    """As a controller would ask: again and again."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(_ASK_EVERY_S):
            httpx.get(f"http://127.0.0.1:{port}/verdict", params={"candidate": _CANDIDATE}, timeout=30)

    with create_server("127.0.0.1", port, Counted(prometheus_url), Policy(), "", 600) as server:
        threads = [threading.Thread(target=work, name="judge") for work in (server.serve_forever, ask)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            threads[1].join()
            server.shutdown()
            threads[0].join()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.drill.scene", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/dashboards"), metavar="DIR", help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=120, help="of traffic (%(default)s)")
    options = parser.parse_args(arguments)
    configure_logs("warning", "console")
    with everything() as prometheus:
        began_s = time.time()
        time.sleep(options.seconds)
        for path in draw_all(COMMITTED, prometheus, Window(began_s, time.time(), 1.0, "4s"), options.out):
            print(f"drew {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

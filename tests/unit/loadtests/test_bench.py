"""The benchmarks: what they promise, and that they run on the real service."""

import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from loadtests.bench import __main__ as bench
from loadtests.bench.figures import Figure, Plan, Result
from loadtests.serving import MemoryWatch, ServiceDidNotStart, serving


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        pytest.param(Figure("ratio", 0.9, at_least=0.9), "met", id="on the line"),
        pytest.param(Figure("ratio", 0.89, at_least=0.9), "missed", id="below"),
        pytest.param(Figure("p99", 9.9, "ms", at_most=10), "met", id="under a ceiling"),
        pytest.param(Figure("p99", 10.1, "ms", at_most=10), "missed", id="above a ceiling"),
        pytest.param(Figure("recovery", None, "s", at_most=2), "missed", id="never came"),
        pytest.param(Figure("rate", 12.0, "/s"), "", id="no target"),
    ],
)
def test_a_figure_is_judged_by_its_target(figure: Figure, verdict: str) -> None:
    """What could not be measured is missed, and what was never promised is not judged."""
    assert figure.verdict == verdict


def test_every_file_among_the_parts_is_a_part() -> None:
    """A new part is plugged in by its file alone."""
    found = bench.find_parts()
    folder = Path(bench.parts.__path__[0])
    assert set(found) == {path.stem.replace("_", "-") for path in folder.glob("*.py")} - {"--init--"}
    for part in found.values():
        assert isinstance(part.TITLE, str) and callable(part.measure)


def test_results_are_written_for_machines_and_people(tmp_path: Path) -> None:
    """JSON has every figure with its verdict, the page colours what is missed."""
    result = Result([Figure("ratio", 0.5, at_least=0.9), Figure("rate", 12.0)], notes=["busy machine"])
    bench.write(tmp_path, Plan(), {"sizes": result}, {"sizes": "mixed sizes"})
    figures = json.loads((tmp_path / "bench.json").read_text())["figures"]
    assert [(figure["part"], figure["name"], figure["is_met"]) for figure in figures] == [
        ("sizes", "ratio", False),
        ("sizes", "rate", None),
    ]
    page = (tmp_path / "bench.html").read_text()
    assert '<td class="missed">missed</td>' in page and "busy machine" in page


def test_an_unknown_part_is_a_usage_error() -> None:
    """The message lists those there are."""
    command = bench.typer.Typer()
    command.command()(bench.main)
    result = CliRunner().invoke(command, ["--part", "nonsense"])
    assert result.exit_code == 2 and "mixed-sizes" in result.output


def test_the_real_service_is_started_and_stopped() -> None:
    """It answers inside the block, its memory and processor time can be read, and it is gone afterwards."""
    with serving({"engine": "fake", "fake_engine_delay_ms": 1}) as service, MemoryWatch(service) as memory:
        assert httpx.get(f"{service.url}/readyz", trust_env=False).status_code == 200
        assert "rcnn_in_flight_requests" in httpx.get(service.metrics_url, trust_env=False).text
        assert service.cpu_s() > 0
    assert memory.peak_mb >= memory.before_mb > 10
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{service.url}/readyz", trust_env=False)


def test_a_service_that_does_not_start_says_why() -> None:
    """Its last words are in the error."""
    with pytest.raises(ServiceDidNotStart, match="max_batch_size"), serving({"max_batch_size": 0}):
        pass


@pytest.mark.slow
def test_mixed_sizes_are_answered_without_error_and_as_alone(tmp_path: Path) -> None:
    """Every answer is compared with that of the same image alone, on the real service; no timing is judged."""
    command = bench.typer.Typer()
    command.command()(bench.main)
    arguments = ["-p", "mixed-sizes", "--rounds", "1", "--seconds", "1", "--out", str(tmp_path)]
    CliRunner().invoke(command, arguments)
    figures = {figure["name"]: figure for figure in json.loads((tmp_path / "bench.json").read_text())["figures"]}
    for delay in ("20 ms", "100 ms"):
        assert figures[f"{delay}: errors"]["value"] == 0
        assert figures[f"{delay}: answers that differ from those alone"]["value"] == 0
        assert figures[f"{delay}: mean batch, 16 sizes"]["value"] > 1

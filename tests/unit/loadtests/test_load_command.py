"""python -m loadtests, end to end against a server on loopback."""

import ast
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp
from typer.testing import CliRunner, Result

import loadtests
from loadtests.command import app

Serve = Callable[[ASGIApp], str]
Service = Callable[..., Starlette]
Endpoint = Callable[[Request], Awaitable[Response]]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_clean_run_exits_0_and_leaves_its_figures(
    serve: Serve, service: Service, picture_folder: Path, tmp_path: Path
) -> None:
    """The table is printed, and JSON and plot are where --out says, under the scenario's name."""
    url = serve(service())
    where = ("--url", url, "--images", picture_folder, "--metrics-url", f"{url}/metrics", "--out", tmp_path / "out")
    result = call("steady", *where, "--rate", 200, "--duration-s", 0.1, "-q", "masks=rle")
    assert result.exit_code == 0, result.output
    assert "steady: passed" in result.output
    figures = json.loads((tmp_path / "out" / "steady.json").read_text())
    assert figures["sent"] == figures["ok"] > 0
    assert figures["settings"]["options"] == ["masks=rle"]
    assert (tmp_path / "out" / "steady.png").stat().st_size > 0
    assert "<svg" in (tmp_path / "out" / "steady.html").read_text()


def test_closed_sends_exactly_what_was_asked(
    serve: Serve, service: Service, picture_folder: Path, tmp_path: Path
) -> None:
    """200 requests at 16 at a time are 200 requests."""
    where = ("--url", serve(service()), "--images", picture_folder, "--metrics-url", "", "--out", tmp_path)
    result = call("closed", *where, "--requests", 40, "--concurrency", 8, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["by_outcome"] == {"200": 40}
    assert (tmp_path / "closed.json").is_file()


@pytest.mark.parametrize(
    ("scenario", "kinds", "found"),
    [
        pytest.param(("ramp", "--from-rate", 100, "--steps", 2, "--step-s", 0.1), ["100/s", "150/s"], "knee_per_s"),
        pytest.param(("burst", "--calm-rate", 100, "--burst-rate", 200, "--burst-s", 0.1), ["calm", "burst"], None),
        pytest.param(
            ("overload", "--capacity", 50, "--step-s", 1), ["before", "overload", "after"], "goodput_over_capacity"
        ),
        pytest.param(("slow-clients", "--rate", 100, "--duration-s", 0.3, "--pause-s", 0.01), ["quick", "slow"], None),
        pytest.param(
            ("masks", "--rate", 200, "--duration-s", 0.3),
            ["masks=none", "masks=png", "masks=polygon", "masks=rle"],
            None,
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_every_scenario_is_one_command(
    scenario: tuple[object, ...],
    kinds: list[str],
    found: str | None,
    serve: Serve,
    service: Service,
    picture_folder: Path,
    tmp_path: Path,
) -> None:
    """Each runs to its end on a good service and says what became of each kind of caller."""
    where = ("--url", serve(service()), "--images", picture_folder, "--metrics-url", "", "--out", tmp_path)
    result = call(*scenario, *where)
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / f"{scenario[0]}.json").read_text())
    assert sorted(figures["kinds"]) == sorted(kinds)
    assert found is None or figures["findings"][found] is not None


def test_masks_are_asked_for_in_every_format(
    serve: Serve, service: Service, answer_well: Endpoint, picture_folder: Path, tmp_path: Path
) -> None:
    """Each format reaches the service, beside callers that want none."""
    asked: set[str] = set()

    async def detect(request: Request) -> Response:
        asked.add(request.query_params["masks"])
        return await answer_well(request)

    where = ("--url", serve(service(detect=detect)), "--images", picture_folder, "--metrics-url", "", "--out", tmp_path)
    assert call("masks", *where, "--rate", 200, "--duration-s", 0.3).exit_code == 0
    assert asked == {"none", "rle", "polygon", "png"}


def test_a_run_with_errors_exits_1_unless_they_are_tolerated(
    serve: Serve, service: Service, picture_folder: Path, tmp_path: Path
) -> None:
    """CI can stop on the exit code alone."""

    async def refuse(_: Request) -> Response:
        return JSONResponse({}, status_code=429, headers={"Retry-After": "1"})

    where = ("--url", serve(service(detect=refuse)), "--images", picture_folder, "--metrics-url", "", "--out", tmp_path)
    assert call("closed", *where, "--requests", 3).exit_code == 1
    assert call("closed", *where, "--requests", 3, "--tolerate", "429").exit_code == 0


def test_an_unreachable_server_is_one_line(refusing_url: str, picture_folder: Path, tmp_path: Path) -> None:
    """No traceback, no results of a run that did not happen."""
    result = call("steady", "--url", refusing_url, "--images", picture_folder, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: cannot reach {refusing_url}: ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_unreadable_metrics_cost_only_the_batch_size(
    refusing_url: str, serve: Serve, service: Service, picture_folder: Path, tmp_path: Path
) -> None:
    """A closed metrics port is noted, and the run goes on."""
    where = ("--url", serve(service()), "--images", picture_folder, "--metrics-url", refusing_url, "--out", tmp_path)
    result = call("closed", *where, "--requests", 2)
    assert result.exit_code == 0, result.output
    assert "note: cannot read metrics" in result.stderr
    assert json.loads((tmp_path / "closed.json").read_text())["server"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("steady", "--images", "{empty}"), "error: no images in ", id="no images"),
        pytest.param(("steady", "--images", "{empty}/absent"), "is not a folder", id="no folder"),
        pytest.param(("closed", "--images", "{pictures}", "-q", "rle"), "not NAME=VALUE", id="bad option"),
        pytest.param(("closed", "--images", "{pictures}", "--url", "here"), "expected http://HOST:PORT", id="bad url"),
        pytest.param(("steady", "--images", "{pictures}", "--rate", "0"), "--rate", id="no rate"),
        pytest.param(
            ("steady", "--images", "{pictures}", "--rate", "0.001", "--duration-s", "0.001"),
            "no request falls due",
            id="empty schedule",
        ),
    ],
)
def test_usage_errors_exit_2_and_say_what_to_change(
    arguments: tuple[str, ...], said: str, picture_folder: Path, tmp_path: Path
) -> None:
    """The caller's mistakes are told apart from the server's."""
    empty = tmp_path / "empty"
    empty.mkdir()
    result = call(*(argument.format(empty=empty, pictures=picture_folder) for argument in arguments))
    assert result.exit_code == 2
    assert said in result.stderr


def test_the_client_knows_nothing_of_the_server() -> None:
    """Load goes over the wire: no module here imports what it measures."""
    for path in Path(loadtests.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & {"service", "model", "deploy"}, path.name

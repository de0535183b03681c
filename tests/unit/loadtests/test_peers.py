"""The comparison with other servers: its parts, and the whole of it on our own service."""

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from deploy.peers.detecting import Detector
from loadtests.peers import __main__ as command
from loadtests.peers import counts, doors, records, reporting
from loadtests.peers.catalogue import NAMES, PEERS
from loadtests.peers.environments import REQUIREMENTS
from loadtests.peers.figures import cell
from loadtests.peers.job import Job, Mixing
from loadtests.peers.loads import BY_NAME, MODEL
from loadtests.peers.records import Failed, Step
from loadtests.peers.searching import LEAST_PER_S, highest_rate_per_s
from loadtests.pictures import SHIPPED, Picture
from loadtests.wire import Response

ANSWER = {"image": {"width": 8, "height": 6}, "detections": [], "timings_ms": {"detector": 1.0}}
STEP = Step("rcnn", "fake-1", 1, "search", 100.0, 100, 100, 5.0, 50.0, 90.0, 1.0, 4.0, 0.2)


def _capacity(capacity_per_s: float) -> Callable[[float], bool]:
    return lambda rate_per_s: rate_per_s <= capacity_per_s


@pytest.mark.parametrize("first_per_s", [1.0, 100.0, 4_000.0])
def test_a_search_ends_within_its_resolution_wherever_it_begins(first_per_s: float) -> None:
    """Never above what holds, never further below it than asked."""
    found = highest_rate_per_s(_capacity(230.0), first_per_s, factor=2.0, resolution=1.1)
    assert 230.0 / 1.1 <= found <= 230.0


def test_a_server_that_holds_nothing_has_no_goodput() -> None:
    """The search gives up at the least rate instead of going on for ever."""
    tried: list[float] = []
    assert highest_rate_per_s(lambda rate: bool(tried.append(rate)), 8.0, factor=2.0, resolution=1.1) == 0.0
    assert min(tried) >= LEAST_PER_S


def test_counts_pass_through_their_file(tmp_path: Path) -> None:
    """What a peer's process wrote is what the harness reads, whatever was there before."""
    path = tmp_path / "counts"
    assert counts.read(path) == counts.Counts()
    with path.open("wb") as file:
        for counted in (counts.Counts(10, 80, 7_000, 9_000), counts.Counts(11, 84, 7_500, 10_000)):
            counts.write(counted, file.fileno())
            assert counts.read(path) == counted
    assert counts.Counts(11, 84, 7_500, 10_000).since(counts.Counts(10, 80, 7_000, 9_000)).images_a_call == 4


def test_every_peer_has_pinned_requirements() -> None:
    """An environment made tomorrow holds what one made today does."""
    for peer in PEERS:
        lines = (REQUIREMENTS / f"{peer.name}.txt").read_text().splitlines()
        pinned = [line for line in lines if line and not line.startswith(("#", "-r"))]
        assert all("==" in line for line in pinned)
        assert any(line.replace("[", "=").startswith(f"{peer.distribution}=") for line in pinned)


@pytest.mark.parametrize(
    ("door", "headers", "body"),
    [
        pytest.param(doors.OWN, {}, orjson.dumps(ANSWER), id="rcnn"),
        pytest.param(doors.JSON_IMAGES, {}, orjson.dumps([ANSWER]), id="a list of one"),
        pytest.param(
            doors.V2, {}, orjson.dumps({"outputs": [{"data": [orjson.dumps(ANSWER).decode()]}]}), id="text in JSON"
        ),
        pytest.param(
            doors.V2_BINARY,
            {"inference-header-content-length": "2"},
            b"{}" + struct.pack("<I", len(orjson.dumps(ANSWER))) + orjson.dumps(ANSWER),
            id="behind its length",
        ),
    ],
)
def test_every_door_gives_the_same_answer_out(door: doors.Door, headers: dict[str, str], body: bytes) -> None:
    """However a server wraps it."""
    assert door.unwrap(Response(200, headers, body, 0.0)) == ANSWER


def test_pictures_of_any_length_have_one_triton_header() -> None:
    """Its length is told in a header that is the same for all requests."""
    for length in (1, 1_000, 10_000_000):
        body = doors.V2_BINARY.dressed(Picture("a.png", "image/png", b"x" * length, (8, 6))).body
        about = orjson.loads(body[: doors.TRITON_HEADER_BYTES])
        assert about["inputs"][0]["parameters"]["binary_data_size"] == len(body) - doors.TRITON_HEADER_BYTES


@pytest.mark.parametrize(("mixing", "calls"), [("group", 2), ("pad", 1)])
def test_a_peer_pads_a_mixed_batch_or_runs_it_by_canvas(tmp_path: Path, mixing: Mixing, calls: int) -> None:
    """Either way every picture gets its own answer, in order, and padding is counted."""
    file = tmp_path / "counts"
    detector = Detector(Job(str(SHIPPED / MODEL), "fake", 0.0, 8, 0, str(file), mixing))
    pictures = BY_NAME["fake-16"].pictures()[::6]
    answers = detector.answers([picture.body for picture in pictures])
    assert [(a["image"]["width"], a["image"]["height"]) for a in answers] == [p.upright_wh for p in pictures]
    alone = [detector.answers([picture.body])[0] for picture in pictures]
    assert [answer["detections"] for answer in answers] == [answer["detections"] for answer in alone]
    counted = counts.read(file)
    assert (counted.calls, counted.images) == (calls + len(pictures), 2 * len(pictures))
    assert counted.padding_ratio is not None and 0 < counted.padding_ratio < 1


@pytest.mark.parametrize(
    ("step", "holds"),
    [
        pytest.param(STEP, True, id="in time"),
        pytest.param(replace(STEP, p95_ms=201.0), False, id="too slow"),
        pytest.param(replace(STEP, ok=98), False, id="too many lost"),
        pytest.param(replace(STEP, ok=0, p95_ms=None), False, id="no answer"),
    ],
)
def test_a_rate_holds_where_nearly_all_are_answered_in_time(step: Step, holds: bool) -> None:
    assert step.holds is holds


def test_goodput_is_the_median_of_rounds_and_equal_load_the_last_one() -> None:
    """A rate that did not hold does not count, nor does another equal rate."""
    found = [
        *(replace(STEP, round=number, rate_per_s=rate) for number, rate in enumerate((100.0, 130.0, 110.0))),
        replace(STEP, round=1, rate_per_s=500.0, p95_ms=900.0),
        replace(STEP, purpose="equal", rate_per_s=40.0, p99_ms=7.0),
        replace(STEP, purpose="equal", rate_per_s=50.0, p99_ms=9.0),
    ]
    of = cell(found, "rcnn", "fake-1")
    assert of.goodput_per_s is not None and of.equal_p99_ms is not None
    assert (of.goodput_per_s.least, of.goodput_per_s.median, of.goodput_per_s.most) == (100.0, 110.0, 130.0)
    assert (of.equal_rate_per_s, of.equal_p99_ms.median) == (50.0, 9.0)


def test_a_peer_that_does_not_start_stands_in_the_table_with_its_error(tmp_path: Path) -> None:
    """Nobody is left out because it could not be installed."""
    path = tmp_path / "peers.jsonl"
    records.append(path, [STEP, Failed("ray", "fake-1", "cannot be installed: no wheel")])
    found = records.read(path)
    assert found[0] == STEP
    (table,) = reporting.tables(found)
    assert ("Ray Serve", "cannot be installed: no wheel") in [row[:2] for row in table.rows]
    written = reporting.write(tmp_path, found)
    assert "no wheel" in (tmp_path / "peers.md").read_text() and all(path.stat().st_size for path in written)


def test_an_unknown_server_is_a_usage_error() -> None:
    """The message lists those there are."""
    result = CliRunner().invoke(_app(), ["--only", "nonsense"])
    assert result.exit_code == 2 and all(name in result.output for name in NAMES)


def test_the_whole_comparison_runs_on_our_own_service(tmp_path: Path) -> None:
    """The real service on the fake engine, searched, and asked at the equal rate of an earlier run."""
    earlier = tmp_path / "earlier.jsonl"
    records.append(earlier, [replace(STEP, load="fake-16", purpose="equal", rate_per_s=20.0)])
    options = [
        "--only",
        "rcnn",
        "--load",
        "fake-16",
        "--rounds",
        "1",
        "--step-s",
        "0.5",
        "--resolution",
        "2",
        "--delay-ms",
        "60",
    ]
    result = CliRunner().invoke(_app(), [*options, "--like", str(earlier), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    found = records.read(tmp_path / "peers.jsonl")
    searched, (equal,) = records.steps(found, "search"), records.steps(found, "equal")
    assert searched and equal.rate_per_s == 20.0 and equal.ok > 0
    assert equal.images_a_call is not None and equal.padding_ratio is not None
    assert "| rcnn |" in (tmp_path / "peers.md").read_text()


def _app() -> command.typer.Typer:
    app = command.typer.Typer()
    app.command()(command.main)
    return app

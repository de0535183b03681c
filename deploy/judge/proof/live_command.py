"""`python -m deploy.judge.proof.live_command FOLDER --out RESULTS`: real rollouts of fifteen releases and A/A ones."""

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image

from deploy.judge.proof.live import Job, Stage, run
from deploy.judge.proof.pairs import Release
from deploy.judge.proof.releases import of_blood_cells, of_nuclei, small
from model.datasets import read_dataset
from service.settings import ZOO

TWINS, RESULTS = 20, "live.jsonl"
PARTS = ("bad", "masks", "harmless", "twins")
_TWIN_PAIRS, _BAD_PAIRS, _MOST_PAIRS = 120, 180, 3000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with bccd/ and nuclei/, as docs/zoo.md describes it")
    parser.add_argument("--out", type=Path, required=True, help="folder that keeps results, verdicts and logs")
    parser.add_argument("--part", choices=PARTS, help="only these; all if left out")
    parser.add_argument("--lane", type=int, nargs=2, default=(0, 1), metavar=("I", "N"), help="every Nth one from I on")
    arguments = parser.parse_args()
    for part in [arguments.part] if arguments.part else PARTS:
        with tempfile.TemporaryDirectory() as bundles:
            _play(part, arguments.data, arguments.out, Path(bundles), *arguments.lane)


def _play(part: str, data: Path, out: Path, bundles: Path, lane: int, lanes: int) -> None:
    source, images = ("nuclei", data / "nuclei") if part == "masks" else ("blood-cells", data / "bccd")
    stable, split = small(ZOO / source, bundles / "stable"), read_dataset(images, "val")
    jobs = _jobs(part, _releases(part, stable, bundles / "releases"))[lane::lanes]
    pictures = [quarter for image in split.images for quarter in quarters(split.image_path(image))]
    stage = Stage(stable, pictures, out / f"{part}-{lane}")
    try:
        run(stage, jobs, out / RESULTS)
    finally:
        stage.close()


def quarters(path: Path) -> list[bytes]:
    """The four quarters of an image as PNG: what is in them is seen at a good size by a model of few pixels."""
    found = []
    with Image.open(path) as image:
        picture = image.convert("RGB")
    middle_x, middle_y = picture.width // 2, picture.height // 2
    for left, top in ((0, 0), (middle_x, 0), (0, middle_y), (middle_x, middle_y)):
        out = io.BytesIO()
        picture.crop((left, top, left + middle_x, top + middle_y)).save(out, "PNG")
        found.append(out.getvalue())
    return found


def _releases(part: str, stable: Path, folder: Path) -> list[Release]:
    if part == "twins":
        return [Release("stable's twin", stable, True)]
    made = of_nuclei(stable, folder) if part == "masks" else of_blood_cells(stable, folder)
    return [each for each in made if each.harmless == (part == "harmless") and each.name != "stable's twin"]


def _jobs(part: str, releases: list[Release]) -> list[Job]:
    if part == "twins":
        return [Job(releases[0], number, _TWIN_PAIRS, _TWIN_PAIRS) for number in range(TWINS)]
    return [Job(each, 0, _BAD_PAIRS, _MOST_PAIRS) for each in releases]


if __name__ == "__main__":
    main()

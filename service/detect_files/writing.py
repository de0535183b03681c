"""Where the answers of `rcnn detect` go: lines to read, JSON lines, COCO results, drawn pictures."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import IO, Any, Literal, Protocol

import orjson

from service.detect_files.asking import Detector, Json
from service.detect_files.sources import Source

Format = Literal["summary", "jsonl", "coco", "pictures"]


class CannotWrite(Exception):
    """The wish cannot be met; the message says what to change."""


class Writer(Protocol):
    """Asks for what it writes, one source at a time, in the order of the sources; close() ends the output."""

    async def ask(self, detector: Detector, body: bytes) -> Any:
        """What this writer needs of one image."""
        ...

    def write(self, place: int, source: Source, result: Any) -> None:
        """Put down the result of the place-th source, from 1."""
        ...

    def close(self) -> None: ...


class _OfAnswers:
    """What the writers of answers share: they ask for the answer; stream None is standard output as it is by then."""

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream

    async def ask(self, detector: Detector, body: bytes) -> Json:
        return await detector.answer(body)

    def close(self) -> None:
        print(end="", file=self._stream, flush=True)


class Lines(_OfAnswers):
    """A sentence an image."""

    def write(self, place: int, source: Source, result: Json) -> None:
        print(f"{source.name}: {summary(result)}", file=self._stream)


class JsonLines(_OfAnswers):
    """One JSON object a line: the answer, and the file it belongs to."""

    def write(self, place: int, source: Source, result: Json) -> None:
        print(orjson.dumps({"file": source.name, **result}).decode(), file=self._stream)


class CocoResults(_OfAnswers):
    """
    The results list that pycocotools' loadRes takes: image_id, category_id, bbox [x, y, width, height], score and, for
    RLE masks, segmentation. https://cocodataset.org/#format-results

    With the ids of an annotation file, images are known by file name and categories by label; without, image_id counts
    the sources from 1 and category_id is the label's number in the model. file_name stands beside either.
    """

    def __init__(self, stream: IO[str] | None, ids: "CocoIds | None" = None) -> None:
        super().__init__(stream)
        self._ids, self._empty = ids, True

    def write(self, place: int, source: Source, result: Json) -> None:
        image_id = self._ids.image(source) if self._ids else place
        for row in result["detections"]:
            category_id = self._ids.category(row["label"]) if self._ids else row["label_id"]
            x1, y1, x2, y2 = row["box"]
            bbox = [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)]
            line = {"image_id": image_id, "category_id": category_id, "bbox": bbox, "score": row["score"]}
            if row.get("mask"):
                line["segmentation"] = row["mask"]
            self._put({**line, "file_name": source.relative.as_posix()})

    def close(self) -> None:
        print("[]" if self._empty else "\n]", file=self._stream)
        super().close()

    def _put(self, line: Json) -> None:
        print("[" if self._empty else ",", file=self._stream)
        print(json.dumps(line), end="", file=self._stream)
        self._empty = False


class CocoIds:
    """The ids that an annotation file gives to images and categories. Raises CannotWrite if path is none."""

    def __init__(self, path: Path) -> None:
        try:
            data = json.loads(path.read_bytes())
            self._images = {PurePath(row["file_name"]).as_posix(): int(row["id"]) for row in data["images"]}
            self._categories = {str(row["name"]): int(row["id"]) for row in data["categories"]}
        except (ValueError, TypeError, KeyError) as error:
            raise CannotWrite(f"{path}: no COCO annotation file ({error!r}): expected images and categories") from error
        self._path = path

    def check(self, sources: Iterable[Source]) -> None:
        """Raises CannotWrite for the first source that the file does not know."""
        for source in sources:
            self.image(source)

    def image(self, source: Source) -> int:
        for name in (source.relative.as_posix(), source.relative.name):
            if name in self._images:
                return self._images[name]
        raise CannotWrite(f"{source.name}: {self._path} has no image of this file_name")

    def category(self, label: str) -> int:
        if label not in self._categories:
            raise CannotWrite(f"{self._path} has no category {label}; it has {', '.join(self._categories)}")
        return self._categories[label]


class Pictures:
    """One PNG an image, called as the source is, in folder. Raises CannotWrite where it would overwrite one."""

    def __init__(self, folder: Path, sources: Iterable[Source]) -> None:
        self._targets: dict[Path, str] = {}
        self._folder, given = folder, list(sources)
        inputs = {source.path.resolve() for source in given if source.path}
        for source in given:
            target = self._target(source)
            if target.resolve() in inputs:
                raise CannotWrite(f"{target} is one of the images; choose another --out")
            if target in self._targets:
                raise CannotWrite(f"{self._targets[target]} and {source.name} would both become {target}")
            self._targets[target] = source.name

    def _target(self, source: Source) -> Path:
        return self._folder / source.relative.with_suffix(".png")

    async def ask(self, detector: Detector, body: bytes) -> bytes:
        return await detector.picture(body)

    def write(self, place: int, source: Source, result: bytes) -> None:
        target = self._target(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(result)

    def close(self) -> None: ...


def summary(answer: Mapping[str, Any]) -> str:
    """Such as: 3 platelet, 41 red blood cell (blood-cells 1, 38 ms)."""
    labels = [row["label"] for row in answer["detections"]]
    counts = ", ".join(f"{labels.count(label)} {label}" for label in sorted(set(labels))) or "nothing"
    model, total_ms = answer["model"], answer["timings_ms"]["total"]
    return f"{counts} ({model['name']} {model['version']}, {total_ms:.0f} ms)"

"""What one request wishes for: its options, from the query or a JSON body, and the kind of answer it accepts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_origin

from service.api.rest.accepts import JSON, PICTURES
from service.api.rest.bodies import Images
from service.api.rest.schemas import AnswerFormat, QueryOptions
from service.detections import DetectOptions
from service.errors import InvalidOption

_SEVERAL = {"class_score_thresholds"} | {
    name for name, field in QueryOptions.model_fields.items() if get_origin(field.annotation) is list
}


@dataclass(frozen=True)
class Wish:
    """kind is the media type of the answer; format and image_id matter to JSON alone."""

    options: DetectOptions
    kind: str
    format: AnswerFormat
    image_id: int


def read_query(items: Sequence[tuple[str, str]]) -> QueryOptions:
    """Query parameters in order. Raises InvalidOption: unknown, out of range, or given twice though it takes one."""
    sent: dict[str, object] = {}
    for name, value in items:
        if name in _SEVERAL:
            sent[name] = [*sent.get(name, []), value]  # type: ignore[misc]  # only lists are put there
        elif name in sent:
            raise InvalidOption(f"{name}: given twice; expected once.")
        else:
            sent[name] = value
    return QueryOptions.parse(sent)


def choose(images: Images, query: QueryOptions, kind: str) -> Wish:
    """A JSON body's own options, else the query's. Raises InvalidOption where two wishes exclude each other."""
    in_query = query.model_fields_set - {"version"}
    if images.options and in_query:
        raise InvalidOption(f"{', '.join(sorted(in_query))}: with a JSON body, options belong into the body.")
    chosen = images.options or query
    wish = Wish(chosen.to_values(), kind, chosen.format, chosen.image_id)
    if kind in PICTURES:
        return _drawn(wish, len(images.bodies))
    if wish.format != "rcnn" and wish.options.masks not in ("none", "rle"):
        raise InvalidOption(f"masks: format={wish.format} holds masks as rle or none, not as {wish.options.masks}.")
    return wish


def _drawn(wish: Wish, images: int) -> Wish:
    """A drawn picture is of one image, and its masks are polygons."""
    if images > 1:
        raise InvalidOption(f"Accept: a drawn picture is made of one image; {images} were sent. Accept {JSON}.")
    if wish.format != "rcnn":
        raise InvalidOption(f"format: {wish.format} is JSON, but Accept asks for {wish.kind}.")
    return replace(wish, options=replace(wish.options, masks="polygon"))

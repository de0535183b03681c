"""What one request wishes for: its options, from the query or a JSON body, and the kind of answer it accepts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_origin

from service.api.rest.accepts import JSON, PICTURES
from service.api.rest.bodies import Images
from service.api.rest.schemas import AnswerFormat, JsonBody, QueryOptions, RestOptions
from service.detections import DetectOptions
from service.errors import InvalidOption

_SEVERAL = {"class_score_thresholds"} | {
    name for name, field in QueryOptions.model_fields.items() if get_origin(field.annotation) is list
}
_NOTHING_SAID = QueryOptions()  # never changed by those who read it


@dataclass(frozen=True)
class Wish:
    """kind is the media type of the answer; format and image_id matter to JSON alone."""

    options: DetectOptions
    kind: str
    format: AnswerFormat
    image_id: int


def read_query(items: Sequence[tuple[str, str]]) -> QueryOptions:
    """Query parameters in order. Raises InvalidOption: unknown, out of range, or given twice though it takes one."""
    if not items:  # as most requests have it
        return _NOTHING_SAID
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
    """The query's options and a JSON body's together. Raises InvalidOption where two wishes exclude each other."""
    chosen = _together(query, images.options) if images.options else query
    wish = Wish(chosen.to_values(), kind, chosen.format, chosen.image_id)
    if kind in PICTURES:
        return _drawn(wish, len(images.bodies))
    if wish.format != "rcnn" and wish.options.masks not in ("none", "rle"):
        raise InvalidOption(f"masks: format={wish.format} holds masks as rle or none, not as {wish.options.masks}.")
    return wish


def _together(query: QueryOptions, body: JsonBody) -> RestOptions:
    in_query = query.model_dump(exclude_unset=True, exclude={"version"})
    in_body = body.model_dump(exclude_unset=True, exclude={"images"})
    clashes = [name for name in in_query if name in in_body and in_query[name] != in_body[name]]
    if clashes:
        raise InvalidOption(f"{', '.join(clashes)}: the query says one thing, the JSON body another; say it once.")
    return RestOptions.parse(in_query | in_body)


def _drawn(wish: Wish, images: int) -> Wish:
    """A drawn picture is of one image, and its masks are polygons."""
    if images > 1:
        raise InvalidOption(f"Accept: a drawn picture is made of one image; {images} were sent. Accept {JSON}.")
    if wish.format != "rcnn":
        raise InvalidOption(f"format: {wish.format} is JSON, but Accept asks for {wish.kind}.")
    return replace(wish, options=replace(wish.options, masks="polygon"))

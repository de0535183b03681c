"""Options as every door takes them."""

from typing import Any

import pytest

from service.api.options import Options, VersionedOptions
from service.detections import DetectOptions
from service.errors import InvalidOption


def test_nothing_sent_leaves_everything_to_the_model() -> None:
    """The defaults of the doors are the defaults of the values."""
    assert Options.parse({}).to_values() == DetectOptions()


@pytest.mark.parametrize(
    "sent",
    [
        {"thing": 0.25, "a:b": 1},
        "thing:0.25,a:b:1",
        ["thing:0.25", "a:b:1"],
        ["thing:0.25,a:b:1"],
    ],
    ids=str,
)
def test_thresholds_by_label_come_in_the_form_a_door_has(sent: Any) -> None:
    """A mapping, a text or a list of texts; labels may hold colons."""
    assert Options.parse({"class_score_thresholds": sent}).class_score_thresholds == {"thing": 0.25, "a:b": 1.0}


def test_text_is_read_as_what_it_stands_for() -> None:
    """Numbers, flags and lists, for doors that have text alone."""
    parsed = Options.parse(
        {"score_threshold": "0.5", "class_agnostic": "true", "classes": "a,b", "max_detections": "7"}
    )
    values = parsed.to_values()
    assert (values.score_threshold, values.class_agnostic, values.classes, values.max_detections) == (
        0.5,
        True,
        ("a", "b"),
        7,
    )


@pytest.mark.parametrize(
    ("sent", "field", "words"),
    [
        ({"class_score_thresholds": "thing"}, "class_score_thresholds", "label:score"),
        ({"class_score_thresholds": ["thing:high"]}, "class_score_thresholds.thing", "high"),
        ({"soft_nms_sigma": float("inf")}, "soft_nms_sigma", "finite"),
        ({"nonsense": 1}, "nonsense", "no such option; there are score_threshold, "),
        ({"masks": "x" * 10_000}, "masks", "got xxx"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_is_named_with_what_was_expected(sent: dict[str, Any], field: str, words: str) -> None:
    """One sentence, short whatever was sent, and the option for machines."""
    with pytest.raises(InvalidOption) as refused:
        Options.parse(sent)
    assert str(refused.value).startswith(f"{field}: ") and words in str(refused.value)
    assert refused.value.violations[0][0] == field
    assert len(str(refused.value)) < 400


def test_options_come_back_from_a_query() -> None:
    """What was set, in the form a query has; what was not set stays unsaid."""
    options = VersionedOptions.parse({"class_score_thresholds": {"a": 0.5}, "masks": "rle", "version": "2"})
    query = options.to_query()
    assert query == {"class_score_thresholds": ["a:0.5"], "masks": "rle", "version": "2"}
    assert VersionedOptions.parse(query) == options


@pytest.mark.parametrize("sent", [["scale", "flip"], "scale,flip", ["flip,scale", "flip"]], ids=str)
def test_views_are_asked_for_in_any_order_and_form(sent: Any) -> None:
    """The same wish has one form, so that it is one question to the answers kept."""
    assert Options.parse({"tta": sent}).to_values().tta == ("flip", "scale")


@pytest.mark.parametrize("sent", ["mirror", ["flip", 3], 7], ids=str)
def test_views_there_are_not_are_named(sent: Any) -> None:
    """A word, a number among words, a number."""
    with pytest.raises(InvalidOption, match=r"tta.*: Input should be .*got (mirror|3|7)"):
        Options.parse({"tta": sent})

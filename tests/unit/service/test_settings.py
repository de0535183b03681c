"""Where settings come from, and what they refuse."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings, read_settings


def test_flags_beat_variables_beat_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source wins over the one behind it."""
    file = tmp_path / "rcnn.toml"
    file.write_text("http_port = 1\ngrpc_port = 1\nmetrics_port = 1\n")
    monkeypatch.setenv("RCNN_GRPC_PORT", "2")
    monkeypatch.setenv("RCNN_METRICS_PORT", "2")
    settings = read_settings(file, metrics_port="3")
    assert (settings.http_port, settings.grpc_port, settings.metrics_port) == (1, 2, 3)


def test_bundles_are_a_comma_separated_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one writes it in a variable."""
    monkeypatch.setenv("RCNN_BUNDLES", "a,b/c")
    assert read_settings().bundle_folders() == (Path("a"), Path("b/c"))


def test_without_bundles_the_shipped_models_are_served() -> None:
    """`rcnn serve` alone has something to serve."""
    assert [folder.name for folder in read_settings().bundle_folders()] == ["nuclei", "blood-cells"]


@pytest.mark.parametrize(
    ("name", "value"), [("max_in_flight", 0), ("http_port", 70_000), ("engine", "steam"), ("nonsense", 1)]
)
def test_nonsense_is_refused_at_start(name: str, value: object) -> None:
    """Before the first request, with the setting's name."""
    with pytest.raises(ValidationError, match=name):
        read_settings(**{name: value})


def test_a_request_that_could_never_be_admitted_is_found_at_start() -> None:
    """More images a request than may be inside at all: refused with both numbers."""
    with pytest.raises(ValidationError, match=r"max_in_flight \(4\) should be at least max_images_per_request \(16\)"):
        read_settings(max_in_flight=4)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_tells_its_consequence(name: str) -> None:
    """`rcnn serve --help` has a sentence for each."""
    assert (Settings.model_fields[name].description or "").endswith(".")


def test_samples_ask_for_a_key_or_for_a_plain_word_that_there_is_none() -> None:
    """Both would say two things."""
    assert read_settings(samples_url="kept", samples_key="key").samples_blur == ()
    assert read_settings(samples_url="kept", samples_unencrypted="true", samples_blur="a,b").samples_blur == ("a", "b")
    for wrong in ({}, {"samples_key": "key", "samples_unencrypted": "true"}):
        with pytest.raises(ValidationError, match="either samples_key"):
            read_settings(samples_url="kept", **wrong)

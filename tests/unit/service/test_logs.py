"""What a log line may hold."""

from pathlib import Path

import pytest

from service.logs import redact


def logged(value: object) -> object:
    return redact(None, "info", {"said": value})["said"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (b"\x89PNG and more", "<13 bytes>"),
        (Path("/srv/models/nuclei/1"), "1"),
        ("/srv/models/nuclei/1 holds no manifest.json", "1 holds no manifest.json"),
        ("cannot read /home/ann/My Data/x.onnx: gone", "cannot read x.onnx: gone"),
        ('File "/usr/lib/python3/json.py", line 3', 'File "json.py", line 3'),
        ("Authorization: Bearer abcdef123456", "Authorization: ***"),
        ("api_key=0123456789abcdef", "***"),
        ("http://ann:secret99@proxy:3128/v1", "http://proxy:3128/v1"),
    ],
)
def test_bytes_paths_and_secrets_are_cut_out(said: object, kept: str) -> None:
    """Of a path the last part is left, of bytes their number, of a secret nothing."""
    assert logged(said).replace("***", "").strip() == kept.replace("***", "").strip()  # type: ignore[attr-defined]


@pytest.mark.parametrize("said", ["http://localhost:8000/v1/status", "9/10 batches", 3, None, "a / b"])
def test_everything_else_is_logged_as_it_is(said: object) -> None:
    """Nothing that is not a path, bytes or a secret is touched."""
    assert logged(said) == said


def test_a_value_of_any_length_makes_a_line_of_bounded_length() -> None:
    """An image in base64 would be cut off; the number of its characters is told."""
    assert len(str(logged("QUJD" * 1_000_000))) < 5_000


def test_the_callers_own_id_stays_what_it_was() -> None:
    """It is looked for as it was sent."""
    assert redact(None, "info", {"request_id": "a/b/c/d"}) == {"request_id": "a/b/c/d"}

"""docs/values.md says what the chart's values are today."""

from pathlib import Path

from deploy.chart_reference import reference_of

ROOT = Path(__file__).parents[2]


def test_the_reference_is_current() -> None:
    """Made anew from values.yaml it is the same; `make values` writes it."""
    made = reference_of((ROOT / "helm/rcnn/values.yaml").read_text())
    assert made == (ROOT / "docs/values.md").read_text(), "run make values"


def test_a_key_is_named_in_full_with_its_default_and_what_its_comment_says() -> None:
    """Sections, nesting, comments above a key, and settings that are only a comment."""
    made = reference_of(
        "# --- One ---\n\n# What a | b.\nimage:\n  # A <tag>.\n  tag: x\nsettings:\n  # most: 3      at once\n"
    )
    assert "## One" in made
    assert "| `image` |  | What a \\| b. |" in made
    assert "| `image.tag` | `x` | A &lt;tag>. |" in made
    assert "| `settings.most` | `3` | at once |" in made

"""
Write docs/values.md from helm/rcnn/values.yaml: its comments, keys and defaults are the only source.

    python -m deploy.chart_reference helm/rcnn/values.yaml docs/values.md
"""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

HEAD = """# Values of the chart

Made by `make values` from [values.yaml](../helm/rcnn/values.yaml). Unknown keys are refused by
[values.schema.json](../helm/rcnn/values.schema.json), and so are values that are fine alone and wrong together.
Of a setting that is only a comment there, the service's own default or an example is shown. Whole examples:
[helm/rcnn/examples](../helm/rcnn/examples).
"""
SECTION = re.compile(r"# --- (.+?) -+$")
KEY = re.compile(r"( *)([A-Za-z]\w*):(?: (.*))?$")
# `  # maxInFlight: 64     what it does`: a key that is left to the service's own default
LEFT_OUT = re.compile(r" +# ([a-z]\w*): (.*?)(?: {2,}(.*))?$")


@dataclass
class Reference:
    """The tables so far, and where in the file we are."""

    lines: list[str] = field(default_factory=list)
    path: list[tuple[int, str]] = field(default_factory=list)
    comment: list[str] = field(default_factory=list)

    def row(self, indent: int, key: str, default: str) -> None:
        self.path = [*(step for step in self.path if step[0] < indent), (indent, key)]
        name = ".".join(step for _, step in self.path)
        text = re.sub(" {2,}", " ", " ".join(self.comment)).replace("|", "\\|").replace("<", "&lt;")
        shown = f"`{default}`".replace("|", "\\|") if default else ""
        if default or text:
            self.lines.append(f"| `{name}` | {shown} | {text} |")
        self.comment = []

    def section(self, title: str) -> None:
        self.path, self.comment = [], []
        self.lines += ["", f"## {title}", "", "| key | default | meaning |", "|---|---|---|"]


def reference_of(values: str) -> str:
    """Markdown: a table for each section, a row for each key with its comment."""
    made = Reference()
    for line in values.splitlines():
        if section := SECTION.match(line):
            made.section(section[1])
        elif (left_out := LEFT_OUT.match(line)) and made.path and made.path[0][1] == "settings":
            made.comment = [left_out[3] or ""]
            made.row(2, left_out[1], left_out[2])
        elif line.lstrip().startswith("#"):
            made.comment.append(line.strip(" #"))
        elif key := KEY.match(line):
            made.row(len(key[1]), key[2], key[3] or "")
        else:
            made.comment = []
    return HEAD + "\n".join(made.lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(reference_of(Path(sys.argv[1]).read_text()))

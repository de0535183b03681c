"""What the cluster is built of, read from pins.toml, and where the built parts lie."""

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

PINS = Path(__file__).parent / "pins.toml"


@dataclass(frozen=True, slots=True)
class Pin:
    """One Go module at one version; the fields are explained in pins.toml."""

    name: str
    version: str
    module: str = ""
    local: str = ""
    binaries: dict[str, str] = field(default_factory=dict)
    staging: str = ""
    stamps: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    optional: bool = False

    @property
    def folder(self) -> Path:
        """Where this version's binaries and files lie, once built."""
        return cache() / f"{self.name}-{self.version}"

    @property
    def built(self) -> bool:
        return (self.folder / "complete").exists()


def cache() -> Path:
    """Outside the project: builds outlive a checkout and are shared between several."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rcnn-e2e"


def read_pins() -> dict[str, Pin]:
    """By name, in the order in which they are built."""
    return {name: Pin(name, **entry) for name, entry in tomllib.loads(PINS.read_text()).items()}


def binary(name: str) -> Path:
    """The path of a built program; raises KeyError for one that no pin makes."""
    for pin in read_pins().values():
        if name in pin.binaries:
            return pin.folder / name
    raise KeyError(f"no pin makes {name}; pins.toml names {[n for pin in read_pins().values() for n in pin.binaries]}")

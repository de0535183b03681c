"""A folder of bundles, NAME/VERSION, to load and unload while the service runs. Off unless a folder is set."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import BundleInvalid, InvalidOption, ModelNotFound, NotPermitted
from service.models import Models, ServedModel

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class IndexEntry:
    """One model version: served now (ready), or lying in the folder."""

    name: str
    version: str
    ready: bool


class Repository:
    """Loads beside, swaps at once, drains the old. One change at a time; a change goes on if its caller leaves."""

    def __init__(
        self,
        folder: Path | None,
        models: Models,
        build: Callable[[Path], Awaitable[ServedModel]],
        retire: Callable[[ServedModel], Awaitable[None]],
    ) -> None:
        """build reads, checks and starts the bundle in a folder; retire lets a model finish and gives it back."""
        self._folder, self._models, self._build, self._retire = folder, models, build, retire
        self._one_change = asyncio.Lock()
        self._changes: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether models may be loaded and unloaded."""
        return self._folder is not None

    def index(self) -> list[IndexEntry]:
        """Everything served, then everything in the folder that is not."""
        served = [(model.id.name, model.id.version) for model in self._models.all()]
        manifests = sorted(self._folder.glob("*/*/manifest.json")) if self._folder else []
        lying = [(path.parent.parent.name, path.parent.name) for path in manifests]
        rest = [entry for entry in lying if entry not in served]
        return [IndexEntry(*entry, True) for entry in served] + [IndexEntry(*entry, False) for entry in rest]

    async def load(self, name: str, version: str | None = None) -> None:
        """
        Serve name in that version (the latest if None) in place of its other versions.

        Raises NotPermitted, ModelNotFound, InvalidOption, or BundleInvalid: then what was served still is.
        """
        folder = self._find(name, version)
        await self._change(self._load(name, folder))

    async def unload(self, name: str, version: str | None = None) -> None:
        """Stop serving a version, or all, of name once they have answered what they hold. Raises ModelNotFound."""
        self._root()
        self._models.get(name, version)
        await self._change(self._unload(name, version))

    async def _load(self, name: str, folder: Path) -> None:
        try:
            model = await self._build(folder)
        except BundleInvalid as error:  # who asked need not know where on this machine it lies
            raise BundleInvalid(str(error).replace(str(folder), f"{name}/{folder.name}")) from error
        if (model.id.name, model.id.version) != (name, folder.name):
            await self._retire(model)
            raise BundleInvalid(f"{name}/{folder.name} holds the bundle {model.id.name} {model.id.version}")
        for old in self._models.swap_in(model):
            await self._retire(old)

    async def _unload(self, name: str, version: str | None) -> None:
        leaving = [model for model in self._models.versions(name) if version in (None, model.id.version)]
        for model in leaving:
            self._models.take_out(model)
        for model in leaving:
            await self._retire(model)

    async def _change(self, steps: Coroutine[Any, Any, None]) -> None:
        async def alone() -> None:
            async with self._one_change:
                await steps

        task = asyncio.create_task(alone())
        self._changes.add(task)  # the loop keeps only weak references to tasks
        task.add_done_callback(self._changes.discard)
        await asyncio.shield(task)

    def _root(self) -> Path:
        if self._folder is None:
            raise NotPermitted(
                "Models cannot be loaded or unloaded here: no model repository is set (RCNN_MODEL_REPOSITORY)."
            )
        return self._folder

    def _find(self, name: str, version: str | None) -> Path:
        root = self._root()
        for part in (name, version or "1"):
            if not _NAME.fullmatch(part):
                raise InvalidOption(f"{part!r:.80} cannot be a model's name or version.")
        versions = {path.parent.name: path.parent for path in (root / name).glob("*/manifest.json")}
        if (version is not None and version not in versions) or not versions:
            known = ", ".join(sorted(versions, key=_age)) or "no version of it"
            raise ModelNotFound(f"The repository has no {name}{f' {version}' if version else ''}; it has {known}.")
        return versions[version if version is not None else max(versions, key=_age)]


def _age(version: str) -> tuple[tuple[int, str], ...]:
    """Sorts 2 before 10 and v1.9 before v1.10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", version)
    return tuple((int(part), "") if part[0] in "0123456789" else (-1, part) for part in parts)

"""Where the course of a training run is written: TensorBoard files, and MLflow if a store is given."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from torch.utils.tensorboard import SummaryWriter

_LONGEST_PARAM = 6000  # characters, MLflow's own limit
_SQLITE = "sqlite:///"


class Tracker(Protocol):
    """Written to as training goes on; a resumed run goes on in the same place."""

    def params(self, values: Mapping[str, Any]) -> None: ...

    def metrics(self, values: Mapping[str, float], epoch: int) -> None: ...

    def artefacts(self, folder: Path, name: str) -> None: ...

    def close(self, *, finished: bool) -> None: ...


class TensorBoard:
    """Scalars by epoch in out_dir; what a killed run had written from `epochs_done` on is not shown."""

    def __init__(self, out_dir: Path, epochs_done: int) -> None:
        self._writer = SummaryWriter(str(out_dir), purge_step=epochs_done + 1)

    def params(self, values: Mapping[str, Any]) -> None:
        self._writer.add_text("params", "\n".join(f"- {name}: `{value}`" for name, value in values.items()))

    def metrics(self, values: Mapping[str, float], epoch: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()  # by itself only every two minutes: a kill would take the last epochs with it

    def artefacts(self, folder: Path, name: str) -> None:
        self._writer.add_text(name, str(folder))

    def close(self, *, finished: bool) -> None:
        self._writer.close()


class Mlflow:
    """
    One run in the store at uri: an MLflow server (http, https) or a database file (sqlite:///path).

    Its id is kept in id_path, so that a resumed training goes on in the same run. Raises ImportError without the
    mlflow packages, MlflowException if the store cannot be used.
    """

    def __init__(self, uri: str, experiment: str, run_name: str, id_path: Path) -> None:
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._client = MlflowClient(tracking_uri=uri)
        if id_path.is_file():
            self.run_id = id_path.read_text().strip()
            self._client.set_terminated(self.run_id, "RUNNING")
            return
        self.run_id = self._client.create_run(self._experiment_id(uri, experiment), run_name=run_name).info.run_id
        id_path.write_text(self.run_id + "\n")

    def _experiment_id(self, uri: str, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        # A database file gets its artefacts beside it; a server has a place of its own.
        place = Path(uri.removeprefix(_SQLITE)).resolve() if uri.startswith(_SQLITE) else None
        location = None if place is None else (place.parent / f"{place.stem}-artefacts").as_uri()
        return str(self._client.create_experiment(name, artifact_location=location))

    def params(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            text = value if isinstance(value, str) else json.dumps(value)
            self._client.log_param(self.run_id, name, text[:_LONGEST_PARAM])

    def metrics(self, values: Mapping[str, float], epoch: int) -> None:
        for name, value in values.items():
            self._client.log_metric(self.run_id, name, value, step=epoch)

    def artefacts(self, folder: Path, name: str) -> None:
        self._client.log_artifacts(self.run_id, str(folder), name)

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self.run_id, "FINISHED" if finished else "FAILED")


class Trackers:
    """Several as one; closed as finished or failed at the end of a with block."""

    def __init__(self, *trackers: Tracker) -> None:
        self._trackers = trackers

    def params(self, values: Mapping[str, Any]) -> None:
        for tracker in self._trackers:
            tracker.params(values)

    def metrics(self, values: Mapping[str, float], epoch: int) -> None:
        for tracker in self._trackers:
            tracker.metrics(values, epoch)

    def artefacts(self, folder: Path, name: str) -> None:
        for tracker in self._trackers:
            tracker.artefacts(folder, name)

    def close(self, *, finished: bool) -> None:
        for tracker in self._trackers:
            tracker.close(finished=finished)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(finished=kind is None)

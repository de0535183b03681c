"""What the protocol tells about a model: metadata, configuration and statistics, as JSON-ready values."""

from typing import Any

from service.api.oip.images import INPUTS
from service.api.oip.outputs import outputs_of
from service.api.oip.proposals import INPUT as PROPOSALS
from service.models import ServedModel
from service.statistics import BatchStatistics, Duration, ModelStatistics

# What is offered beyond the protocol's core. Shared memory, tracing and logging are not.
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics")


def model_metadata(model: ServedModel, versions: list[str]) -> dict[str, Any]:
    return {
        "name": model.id.name,
        "versions": versions,
        "platform": f"rcnn_{model.engine.name}",
        "inputs": [dict(tensor) for tensor in _inputs_of(model)],
        "outputs": [dict(tensor) for tensor in outputs_of(model)],
    }


def model_config(model: ServedModel) -> dict[str, Any]:
    """
    The parts of Triton's model configuration that hold here. Either input will do, so both are optional.

    max_batch_size is 0: the shapes written here hold N, how many images a request brings. With a batch axis of Triton's
    own, `image` would be left without any, which perf_analyzer cannot send. Batches are made whatever N is.
    """
    return {
        "name": model.id.name,
        "platform": f"rcnn_{model.engine.name}",
        "backend": model.engine.name,
        "max_batch_size": 0,
        "input": [{**_tensor(tensor), "optional": True} for tensor in _inputs_of(model)],
        "output": [_tensor(tensor) for tensor in outputs_of(model)],
    }


def _inputs_of(model: ServedModel) -> tuple[dict[str, object], ...]:
    return INPUTS if model.bundle.manifest.proposals is None else (*INPUTS, PROPOSALS)


def _tensor(tensor: dict[str, Any]) -> dict[str, Any]:
    kind = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
    return {"name": tensor["name"], "data_type": f"TYPE_{kind}", "dims": tensor["shape"]}


def model_statistics(model: ServedModel, record: ModelStatistics) -> dict[str, Any]:
    return {
        "name": model.id.name,
        "version": model.id.version,
        "last_inference": int(record.last_answer_unix_s * 1e3),
        "inference_count": record.images,
        "execution_count": record.executions,
        "inference_stats": {
            "success": _duration(record.success),
            "fail": _duration(record.fail),
            "queue": _duration(record.queue),
            "compute_input": _duration(record.input),
            "compute_infer": _duration(record.infer),
            "compute_output": _duration(record.output),
            "cache_hit": _duration(Duration()),
            "cache_miss": _duration(Duration()),
        },
        "batch_stats": [_batch(size, batch) for size, batch in sorted(record.batches.items())],
    }


def _batch(size: int, batch: BatchStatistics) -> dict[str, Any]:
    return {
        "batch_size": size,
        "compute_input": _duration(batch.input),
        "compute_infer": _duration(batch.infer),
        "compute_output": _duration(batch.output),
    }


def _duration(total: Duration) -> dict[str, int]:
    return {"count": total.count, "ns": round(total.seconds * 1e9)}

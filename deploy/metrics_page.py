"""
Write docs/metrics.md from the metrics as the service and the judge declare them.

    python -m deploy.metrics_page            write it
    python -m deploy.metrics_page --check    write nothing; exit 1 if it is not what would be written
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.judge.metrics import JudgeMetrics
from service.metric_registry import Declared
from service.metrics import UNKNOWN_MODEL, Metrics

PAGE = Path("docs/metrics.md")

LABELS = {
    "model": f"A served model's name. `{UNKNOWN_MODEL}` in rcnn_requests_total for every name that is not served.",
    "version": "Its version; empty beside an unknown model.",
    "digest": "sha256 of its manifest.",
    "engine": "What runs it: `onnx`, `openvino`, `tensorrt` or `fake`.",
    "precision": "The number format it computes in.",
    "protocol": "The door: `rest`, `grpc`, `oip_rest` or `oip_grpc`.",
    "outcome": "`ok`, `cancelled`, `internal`, or the stable code of the error the caller got. Of pairs and objects: "
    "what became of them in the candidate's answer.",
    "stage": "Of a duration: `decode`, `preprocess`, `queue`, `detector`, `nms`, `mask_head`, `keypoint_head`, "
    "`encode`, or `cache` where a kept answer was given. Of a cancellation: `queue`, `engine` or `request`.",
    "reason": "Why a request was refused: the code of its error, or what there was no capacity of. "
    "Of samples: why one was kept or dropped ([sampling](sampling.md)).",
    "label": "One of the model's own classes. Of pairs: of the candidate's too; after the first hundred, `(other)`.",
    "signal": "What is watched: `brightness`, `contrast`, `sharpness`, `image_size`, `detections_per_image`, `score`, "
    "`class`, `box_area` or `box_aspect` ([drift](drift.md)).",
    "source": "What senders call themselves (`X-Source`): the first `drift_most_sources` of them, then `(other)`.",
    "release": "What the release is called: `VERSION-HASH` of its pods, by the chart; the same in `X-Release`, "
    "in audit lines and as the label `rcnn/release` of the pods.",
    "candidate": "The model that is asked again.",
    "decision": "Of the judge: `promote`, `rollback` or `undecided`.",
    "size": "By the area of the box in pixels: `small` below 32², `medium`, `large` from 96² on (COCO's limits).",
    "chosen": "Whether the lot fell on an image: `yes` or `no`.",
    "side": "Who worked: `stable` or `candidate`.",
    "gpu": "Index of a device, or `device:slice` of a MIG slice.",
}

_HEAD = """\
# Metrics

<!-- Written by `make metrics-page` from service/metrics.py and deploy/judge/metrics.py: edit those instead. -->

Prometheus scrapes them on :8002, path `/metrics`. Units are seconds, bytes and ratios from 0 to 1. A label's values
come from what is served and from fixed lists, never from a request, so that no caller can add series.

- A histogram `h` is exposed as `h_bucket`, `h_sum` and `h_count`. Quantiles over all replicas:
  `histogram_quantile(0.99, sum by (le) (rate(rcnn_request_duration_seconds_bucket[5m])))`.
- `rate(rcnn_request_duration_seconds_sum[1m])` is the mean number of requests inside (Little's law), and adds up over
  replicas.
- In OpenMetrics (`Accept: application/openmetrics-text`) requests and durations carry the `trace_id` of a recorded
  trace as an exemplar.
- `triton_metric_names` adds `nv_inference_*`, counted from the same requests, for dashboards written for Triton.
- GPUs are read by NVML every five seconds. `rcnn_gpus` 0 says that there is none to read, and the log says why; a value
  that a device or MIG slice does not offer is absent, not 0.

"""

_JUDGE = """
## The judge's

On :8010, path `/metrics`, of `rcnn gate serve`; in the chart its job is the release's full name and `-judge`.

"""


def page() -> str:
    """The whole document."""
    declared, judging = Metrics().declared, JudgeMetrics().declared
    rows, of_judge = ("".join(map(_row, each)) for each in (declared, judging))
    used = {label for metric in (*declared, *judging) for label in metric.labels}
    labels = "".join(f"| `{label}` | {LABELS[label]} |\n" for label in LABELS if label in used)
    buckets = "".join(f"| `{m.name}` | {', '.join(f'{b:g}' for b in m.buckets)} |\n" for m in declared if m.buckets)
    return (
        f"{_HEAD}| metric | kind | labels | what it says |\n|---|---|---|---|\n{rows}"
        f"{_JUDGE}| metric | kind | labels | what it says |\n|---|---|---|---|\n{of_judge}"
        f"\n## Labels\n\n| label | values |\n|---|---|\n{labels}"
        "\n## Bucket edges\n\nAn edge stands at every threshold of an objective.\n"
        f"\n| histogram | edges |\n|---|---|\n{buckets}"
        "\nBeside these there are `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds`\n"
        "and the other process metrics of Prometheus' own client.\n"
    )


def _row(metric: Declared) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.metrics_page", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if parser.parse_args(arguments).check:
        if PAGE.read_text("utf-8") == page():
            return 0
        print(f"{PAGE} is not what the code declares: run make metrics-page", file=sys.stderr)
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""
The questions smoke.sh asks from inside the image. Arguments: the image's entrypoint. Exit code 0: all answered well.

One picture goes through the whole path: a golden one of a shipped bundle, in which there is something to find.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HTTP, METRICS = "http://127.0.0.1:8000", "http://127.0.0.1:8002"
MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png"}
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 40


def main(entrypoint: list[str]) -> None:
    check(not is_writable(Path("/app")), "the root is read-only")
    check(os.getuid() == 10001, "it runs as user 10001")
    check_bill()
    check_cuda()
    started = time.monotonic()
    service = subprocess.Popen(entrypoint)
    try:
        wait_until_ready(service)
        print(f"ready after {time.monotonic() - started:.1f} s")
        print("models", ask(f"{HTTP}/v1/models"))
        detect(golden_picture())
        check("rcnn_requests_total" in ask(f"{METRICS}/metrics"), "metrics are served on 8002")
        check_grpc(golden_picture())
        check_refusal()
        check_judge()
    finally:
        service.send_signal(signal.SIGTERM)
        code = service.wait(STOP_TIMEOUT_S)
    check(code == 0, f"SIGTERM ends it with exit code 0, got {code}")


def check_judge() -> None:
    """The chart starts it from this image; nothing can be measured here, so it must answer undecided."""
    command = ["-m", "service.cli", "gate", "serve", "--prometheus=http://127.0.0.1:9", "--port=8010"]
    judge = subprocess.Popen([sys.executable, *command])
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        answer = ""
        while not answer and time.monotonic() < deadline:
            try:
                answer = ask("http://127.0.0.1:8010/verdict?candidate=v2")
            except OSError:
                time.sleep(0.1)
        check('"undecided"' in answer, "the judge answers")
    finally:
        judge.send_signal(signal.SIGTERM)
    check(judge.wait(STOP_TIMEOUT_S) == 0, "SIGTERM ends the judge")


def wait_until_ready(service: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if service.poll() is not None:
            sys.exit(f"smoke: it ended with {service.returncode} while starting")
        try:
            ask(f"{HTTP}/readyz")
            return
        except OSError:  # not listening yet, or 503: still loading
            time.sleep(0.1)
    sys.exit(f"smoke: not ready after {START_TIMEOUT_S} s")


def golden_picture() -> Path:
    pictures = sorted(path for path in Path("/app/model/zoo").glob("*/*/golden/*") if path.suffix in MEDIA_TYPES)
    check(bool(pictures), "a bundle with golden pictures is baked in")
    return pictures[0]


def detect(picture: Path) -> None:
    started = time.monotonic()
    answer = json.loads(
        ask(
            f"{HTTP}/v1/detect",
            picture.read_bytes(),
            {"Content-Type": f"image/{picture.suffix[1:].replace('jpg', 'jpeg')}"},
        )
    )
    found = [(found["label"], round(found["score"], 2)) for found in answer["detections"]]
    print(
        f"{picture.name}: {found[:5]}, {len(found)} in all, after {time.monotonic() - started:.2f} s, {answer['model']}"
    )
    check(bool(found), "something is found in a golden picture")


def check_grpc(picture: Path) -> None:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from service.api.grpc.proto import detection_pb2, detection_pb2_grpc

    with grpc.insecure_channel("127.0.0.1:8001") as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        check(answer.status == health_pb2.HealthCheckResponse.SERVING, "gRPC health on 8001 is SERVING")
        request = detection_pb2.DetectRequest(image=picture.read_bytes())
        stub = detection_pb2_grpc.DetectionServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        found = stub.Detect(request, timeout=30).detections
    check(bool(found), f"gRPC finds something in it too: {len(found)} objects")


def check_refusal() -> None:
    """Under the image's own Python, which is not that of the tests: an error keeps its status."""
    try:
        urllib.request.urlopen(urllib.request.Request(f"{HTTP}/v1/detect", b"no image"), timeout=30)  # nosec B310  # http, by us
        status = 200
    except urllib.error.HTTPError as error:
        status = error.code
    check(400 <= status < 500, f"what is no image is refused as the caller's fault: {status}")


def check_bill() -> None:
    bill = json.loads(Path("/usr/share/sbom/rcnn.cdx.json").read_text())
    names = {component["name"] for component in bill["components"]}
    engines = names & {"onnxruntime", "onnxruntime-gpu"}
    check({"numpy", "libc6"} <= names and len(engines) == 1, f"the bill of materials names {len(names)} components")


def check_cuda() -> None:
    """In an image for GPUs: all that the CUDA provider is linked to is there, save the driver, which a node brings."""
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return
    onnxruntime.preload_dlls(directory="")
    folder = Path(onnxruntime.__file__).parent / "capi"
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / "libonnxruntime_providers_cuda.so"))
        missing = "nothing"
    except OSError as error:
        missing = str(error).partition(":")[0]
    check(missing in ("nothing", "libcuda.so.1"), f"of what CUDA's provider needs, {missing} is missing")


def ask(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> str:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers or {}), timeout=30) as answer:  # nosec B310  # http, by us
            content: bytes = answer.read()
            return content.decode()
    except urllib.error.HTTPError as error:
        if error.code != 503:
            sys.exit(f"smoke: {url} answers {error.code}: {error.read().decode()}")
        raise


def is_writable(folder: Path) -> bool:
    try:
        (folder / "smoke").touch()
    except OSError:
        return False
    return True


def check(holds: bool, sentence: str) -> None:
    if not holds:
        sys.exit(f"smoke: failed: {sentence}")
    print(f"ok: {sentence}")


if __name__ == "__main__":
    main(sys.argv[1:])

# The pod's image: an interpreter, its libraries, our wheels and the shipped models. No shell, no package manager, no compiler.
# Targets: cpu (the default), gpu, fetch (the init container that brings models from a store).
#
# BASE is any Debian with apt; it builds, and only the packages we name are copied out of it (deploy/image/rootfs.py).
# Without a container engine or a registry at hand: make image.
ARG BASE=debian:bookworm-slim

# --- what the other stages are built with -------------------------------------------------------------------------------
FROM ${BASE} AS builder
RUN command -v python3 >/dev/null && python3 -c 'import ensurepip' && test -s /etc/ssl/certs/ca-certificates.crt \
    || { apt-get update && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates; }
# The certificates to trust while downloading. make image mounts the machine's own here, a company proxy's among them;
# the image gets Debian's.
ARG CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
ENV SSL_CERT_FILE=${CA_BUNDLE} \
    PIP_CERT=${CA_BUNDLE} \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    UV_PYTHON=/usr/bin/python3 \
    UV_PYTHON_DOWNLOADS=never \
    UV_NO_CACHE=1
COPY deploy/image/builder.txt /src/
RUN python3 -m venv /builder && /builder/bin/pip install -q --no-cache-dir --require-hashes -r /src/builder.txt
ENV PATH=/builder/bin:$PATH

# --- the operating system's share: Python, libc, certificates -------------------------------------------------------------
FROM builder AS system
# OpenCV computes with Debian's LAPACK (deploy/image/prune.py).
RUN apt-get update && apt-get install -y --no-install-recommends liblapack3
COPY deploy/image/rootfs.py /src/
RUN /usr/bin/python3 /src/rootfs.py /rootfs libstdc++6 liblapack3 \
    && /usr/bin/python3 -m compileall -q -j 0 -s /rootfs --invalidation-mode unchecked-hash /rootfs/usr/lib/python3*

# --- the wheels of uv.lock, each checked against its hash; both engines for CPUs ------------------------------------------
FROM builder AS compiler
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
WORKDIR /src
COPY pyproject.toml uv.lock ./
COPY deploy/image/prune.py deploy/image/hollow.py ./

FROM compiler AS wheels
RUN UV_PROJECT_ENVIRONMENT=/opt/rcnn uv sync --frozen --no-dev --no-install-project --extra core --extra openvino
# Bytecode is compiled here: a pod's root is read-only, it would compile anew at every start. unchecked-hash: the same bytes every build.
RUN /usr/bin/python3 hollow.py /opt/rcnn/lib/python3*/site-packages \
    && /usr/bin/python3 prune.py /opt/rcnn/lib/python3*/site-packages \
    # Names for debuggers: 20 MB, of which uvloop has 12.
    && find /opt/rcnn/lib -name '*.cpython-*.so' -o -name '*.abi3.so' | xargs strip --strip-unneeded \
    && /usr/bin/python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/rcnn/lib

# --- the bill of materials --------------------------------------------------------------------------------------------------
FROM builder AS bill
WORKDIR /src
COPY pyproject.toml uv.lock deploy/image/sbom.py ./
COPY --from=system /rootfs/var/lib/dpkg/status.d status.d
RUN mkdir /bills \
    && /usr/bin/python3 sbom.py /bills/cpu.cdx.json status.d --no-dev --extra core --extra openvino \
    && /usr/bin/python3 sbom.py /bills/gpu.cdx.json status.d --no-dev --extra gpu \
    && /usr/bin/python3 sbom.py /bills/fetch.cdx.json status.d --only-group fetch

# --- our own code and the shipped models, in a layer of their own: a release moves megabytes, not hundreds ------------------
FROM builder AS app
WORKDIR /src
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY deploy/__init__.py deploy/
COPY deploy/judge deploy/judge
COPY service service
COPY model model
RUN hatchling build -t wheel -d /dist \
    && uv venv -q /opt/rcnn \
    && uv pip install -q --no-deps --python /opt/rcnn --target /app /dist/*.whl \
    && rm -f /app/.lock \
    && /usr/bin/python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /app \
    # Whatever the umask of whoever cloned: another user reads this.
    && chmod -R a+rX /app

# --- what every image has in common -----------------------------------------------------------------------------------------
FROM scratch AS runtime
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="rcnn" \
      org.opencontainers.image.description="Serve exported Faster R-CNN and Mask R-CNN models over REST and gRPC" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=system /rootfs /
# ONNX Runtime reports its use to its maker unless told not to.
ENV PATH=/app/bin:/opt/rcnn/bin:/usr/bin \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    LANG=C.UTF-8 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    ORT_DISABLE_TELEMETRY=1
WORKDIR /app
# A number, so that Kubernetes can see it is not root.
USER 10001:10001
# http, grpc, metrics and admin
EXPOSE 8000 8001 8002
# Exec form: the service itself is the pod's first process, so SIGTERM reaches it.
ENTRYPOINT ["/opt/rcnn/bin/python", "-m", "service"]

# --- the image for CPUs: OpenVINO and ONNX Runtime ----------------------------------------------------------------------------
FROM runtime AS cpu
COPY --from=bill /bills/cpu.cdx.json /usr/share/sbom/rcnn.cdx.json
COPY --from=wheels /opt/rcnn /opt/rcnn
COPY --from=app /app /app

# --- what copies models into a pod before it starts: no engine, no service ------------------------------------------------------
FROM builder AS fetch-wheels
WORKDIR /src
COPY pyproject.toml uv.lock ./
RUN UV_PROJECT_ENVIRONMENT=/opt/rcnn uv sync --frozen --only-group fetch \
    && /usr/bin/python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/rcnn/lib

FROM runtime AS fetch
COPY --from=bill /bills/fetch.cdx.json /usr/share/sbom/rcnn.cdx.json
COPY --from=fetch-wheels /opt/rcnn /opt/rcnn
COPY deploy/fetch.py /app/fetch.py
ENTRYPOINT ["/opt/rcnn/bin/python", "/app/fetch.py"]

# --- the image for GPUs: ONNX Runtime's CUDA build, and CUDA's own libraries from their wheels ------------------------------------
FROM compiler AS gpu-wheels
RUN UV_PROJECT_ENVIRONMENT=/opt/rcnn uv sync --frozen --no-dev --no-install-project --extra gpu
RUN /usr/bin/python3 hollow.py /opt/rcnn/lib/python3*/site-packages \
    && /usr/bin/python3 prune.py /opt/rcnn/lib/python3*/site-packages \
    # Names for debuggers: 20 MB, of which uvloop has 12.
    && find /opt/rcnn/lib -name '*.cpython-*.so' -o -name '*.abi3.so' | xargs strip --strip-unneeded \
    && /usr/bin/python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/rcnn/lib

FROM runtime AS gpu
COPY --from=bill /bills/gpu.cdx.json /usr/share/sbom/rcnn.cdx.json
COPY --from=gpu-wheels /opt/rcnn /opt/rcnn
COPY --from=app /app /app
# What NVIDIA's container runtime brings into the container: the driver's compute library, and nvidia-smi's.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# Without --target: the image for CPUs.
FROM cpu

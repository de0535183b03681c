# Every target works alone on a fresh clone: uv is brought along if it is missing.
SHELL := /bin/bash
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
SERVE_EXTRAS := --extra core --extra openvino
ALL_EXTRAS := $(SERVE_EXTRAS) --extra train --extra dev
RUN := $(UV) run --no-sync
PARALLEL := -n 2 --dist loadfile --max-worker-restart 0
NONE_OF_ARGS = { test $$? = 5 && test -n "$(ARGS)"; }
DATA ?=
SECONDS ?= 300
IMAGE ?= localhost/rcnn:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
SCENARIO ?= steady
NAME ?= all

.PHONY: help values serve test test-slow lint audit sbom types chart image dashboards stack metrics-page proto bench fuzz loadtest gate-proof zoo tools

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

serve: $(UV) ## serve the shipped models on :8000 (page, REST), :8001 (gRPC), :8002 (metrics)
	$(UV) sync --frozen --inexact --quiet $(SERVE_EXTRAS)
	$(RUN) rcnn serve --log-format console

test: install tools ## every quick test
	$(RUN) pytest $(PARALLEL) -m "not slow and not alone and not cluster" $(ARGS) || $(NONE_OF_ARGS)
	$(RUN) pytest -m "alone and not slow and not cluster" $(ARGS) || $(NONE_OF_ARGS)

test-slow: install ## the tests that take minutes
	$(RUN) pytest $(PARALLEL) -m "slow and not alone and not cluster" $(ARGS) || $(NONE_OF_ARGS)
	$(RUN) pytest -m "alone and slow and not cluster" $(ARGS) || $(NONE_OF_ARGS)

lint: install ## ruff, import contracts, types, bandit
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) lint-imports
	$(RUN) mypy
	$(RUN) bandit --quiet --configfile pyproject.toml --recursive service model deploy loadtests

audit: $(UV) ## look up known vulnerabilities of everything in uv.lock (asks the database of PyPI)
	$(UV) export --frozen --quiet --all-extras --no-extra gpu --no-emit-project --output-file .audit.txt
	$(UV) tool run pip-audit --requirement .audit.txt --require-hashes --disable-pip

sbom: $(UV) ## what the image holds, as CycloneDX, into sbom.json
	$(UV) export --frozen --quiet --no-dev $(SERVE_EXTRAS) --format cyclonedx1.5 --preview-features sbom-export --output-file sbom.json

chart: install ## lint and render the chart with the real helm
	$(RUN) pytest tests/chart $(ARGS)

image: sbom ## build the container image and ask it for a detection (needs root, buildah, debootstrap)
	deploy/image/build.sh
	deploy/image/smoke.sh

.PHONY: cluster cluster-build cluster-load cluster-down test-cluster
cluster: install ## a whole Kubernetes on this machine, without Docker (needs root; builds its programs once)
	$(RUN) python -m deploy.cluster up

cluster-build: install ## build the cluster's programs and no more: make cluster-build ARGS="etcd kubernetes"
	$(RUN) python -m deploy.cluster build $(ARGS)

cluster-load: install ## bring the image of `make image` into the cluster
	source deploy/image/buildah.sh && archive=$$(mktemp -d) && trap "rm -rf $$archive" EXIT && \
		buildah push --quiet $(IMAGE) oci-archive:$$archive/rcnn.tar:$(IMAGE) && $(RUN) python -m deploy.cluster load $$archive/rcnn.tar

cluster-down: install ## end the cluster; nothing stays but what was built
	$(RUN) python -m deploy.cluster down

.PHONY: e2e helm-3
helm-3: # the chart promises to work with it too; `tools` brings helm 4 alone
	@deploy/tools/helm.sh v3.21.4 >/dev/null

e2e: tools helm-3 cluster ## a release's whole life on that cluster, under load: make e2e ARGS="--engine plain --inside fake"
	$(RUN) python -m deploy.cluster run -- $(RUN) python -m deploy.e2e $(IMAGE) $(ARGS)

test-cluster: tools helm-3 cluster ## the chart on that cluster, which must have the image: make cluster-load
	$(RUN) python -m deploy.cluster run -- $(RUN) pytest -m cluster tests/cluster $(ARGS)

values: install ## write the reference of the chart's values
	$(RUN) python -m deploy.chart_reference helm/rcnn/values.yaml docs/values.md

dashboards: install ## render the Grafana dashboards and the alert rules into the chart
	$(RUN) python -m deploy.dashboards --out helm/rcnn/dashboards
	$(RUN) python -m deploy.alerts --out helm/rcnn/rules

stack: install ## the service, a Prometheus (and Grafana, where installed) and a little traffic: make stack ARGS="--rate 5"
	$(RUN) python -m deploy.stack $(ARGS)

metrics-page: install ## write docs/metrics.md from the metrics as they are declared
	$(RUN) python -m deploy.metrics_page

proto: install ## regenerate the gRPC code
	$(RUN) python -m service.api.grpc.proto.generate

bench: install ## benchmarks on services of their own, as ratios with their targets: make bench ARGS="-p overload"
	$(RUN) python -m loadtests.bench $(ARGS)

.PHONY: bench-peers
bench-peers: install ## the same model behind Triton, LitServe, BentoML, Ray Serve, MLServer: make bench-peers ARGS="--only litserve"
	$(RUN) python -m loadtests.peers $(ARGS)

.PHONY: drill
drill: install tools ## cause a trouble, see which alert tells of it, read its runbook: make drill NAME=queue-flood
	$(RUN) python -m deploy.drill $(NAME)

fuzz: install ## what strangers' bytes meet first, fuzzed: make fuzz SECONDS=300; what breaks it is left in .fuzz/
	mkdir -p .fuzz/corpus
	$(RUN) python -m tests.fuzz.seeds .fuzz/corpus
	$(RUN) --with atheris==3.0.0 python -m tests.fuzz.tensors_and_images .fuzz/corpus -max_total_time=$(SECONDS) \
		-max_len=65536 -rss_limit_mb=2048 -timeout=20 -artifact_prefix=.fuzz/ -print_final_stats=1

.PHONY: chaos fuzz-wire
chaos: install ## faults under steady load, with an outcome table: make chaos ARGS="kill swaps" (network and disk faults need root)
	$(RUN) python -m tests.chaos $(ARGS)

fuzz-wire: install ## strange bytes at every door of a real server: make fuzz-wire ARGS="--count 100000"
	$(RUN) python -m tests.fuzz.over_the_wire $(ARGS)

loadtest: install ## load on a running service: make loadtest SCENARIO=overload ARGS="--images folder"
	$(RUN) python -m loadtests $(SCENARIO) $(ARGS)

.PHONY: soak
soak: install ## half an hour at 80 % of the capacity, a fifth of the images broken: make soak ARGS="--minutes 120"
	$(RUN) python -m loadtests.soak $(ARGS)

gate-proof: install ## how often the canary judge is wrong, simulated and on real rollouts (hours; goes on where it stopped): make gate-proof DATA=folder with bccd/ and nuclei/ OUT=results
	@test -n "$(DATA)" || { echo "make gate-proof: set DATA to a folder with bccd/ and nuclei/; docs/zoo.md says where to get them"; exit 2; }
	$(RUN) python -m deploy.judge.proof $(DATA) --out $(or $(OUT),runs/gate-proof)/simulated.md $(ARGS)
	$(RUN) python -m deploy.judge.proof.live_command $(DATA) --out $(or $(OUT),runs/gate-proof)
	$(RUN) python -m deploy.judge.proof.live_table $(or $(OUT),runs/gate-proof)/live.jsonl

zoo: install ## retrain the shipped models: make zoo DATA=folder with bccd/ and nuclei/ (docs/zoo.md says where they come from)
	@test -n "$(DATA)" || { echo "make zoo: set DATA to a folder with bccd/ and nuclei/; docs/zoo.md says where to get them"; exit 2; }
	$(RUN) rcnn train $(DATA)/nuclei --recipe nuclei --out runs/nuclei --no-bundle
	$(RUN) rcnn train $(DATA)/bccd --recipe blood-cells --out runs/blood-cells --no-bundle
	$(RUN) rcnn export runs/nuclei/model.pt --data $(DATA)/nuclei --out model/zoo
	$(RUN) rcnn export runs/blood-cells/model.pt --data $(DATA)/bccd --out model/zoo
	$(RUN) rcnn evaluate model/zoo/nuclei $(DATA)/nuclei --write
	$(RUN) rcnn evaluate model/zoo/blood-cells $(DATA)/bccd --write

.PHONY: install
install: $(UV)
	$(UV) sync --frozen --inexact --quiet $(ALL_EXTRAS)

tools: ## what tests use beside Python packages: helm and grpcurl by Go, protocol clients by uv, Chromium by apt
	@deploy/tools/install.sh

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet uv

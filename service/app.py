"""The composition root: builds everything once, in order; tears it down in reverse; knows all other modules."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import structlog

from service.admission import Admission
from service.batch_reports import BatchReports
from service.batching import Batcher, Budget
from service.bundle import Bundle, read_bundle
from service.detector import Found, Work, detect_batch, detect_gathered, gather
from service.engine.base import Engine, EngineOptions
from service.engine.cache import EngineCache
from service.engine.choice import create_engine
from service.engine.threads import available_cpus
from service.errors import BundleInvalid
from service.exchange_settings import check_blurred, drift_from, sampler_from, shadow_from
from service.exchanges import Exchanges
from service.gpu_watch import watch_gpus
from service.health import Health, State
from service.http_server import HttpServer
from service.idle_memory import trim_when_idle
from service.images import Limits
from service.interpreter import keep_pauses_short
from service.memory import BodyMemory, DecodeMemory
from service.metrics import Metrics, Queue
from service.models import Models, ServedModel
from service.predictor import Predictor
from service.proof import prove
from service.repository import Repository
from service.response_cache import ResponseCache
from service.security_settings import certificates_from, guard_from
from service.selfcheck import self_check
from service.settings import Settings
from service.signature import TrustedSigners
from service.sketch import read_baseline
from service.stopping import StopSignals
from service.tracing import Tracer
from service.watchdog import Watchdog

if TYPE_CHECKING:
    from service.api.grpc.server import GrpcDoor
    from service.doors import Inside

_UNLOAD_S = 5.0  # for engines that have nothing to do any more
BASELINE = "baseline.json"
_log = structlog.get_logger("service")
BatchRunner = Callable[[Sequence[Work]], list[Found]]


class Service:
    """Everything a pod runs. `serve()` is its life; after `load()`, `predictor` works without any door too."""

    def __init__(self, settings: Settings) -> None:
        cv2.setNumThreads(1)  # one thread a request: OpenCV would start one for every core of the host
        self._settings = settings
        self.health, self.models = Health(), Models()
        self.metrics = Metrics(triton_names=settings.triton_metric_names, release=settings.release)
        self.metrics.watch_queues(
            lambda: [Queue(m.id.name, m.batcher.depth, m.batcher.queued_work_s()) for m in self.models.all()]
        )
        self.tracer = _create_tracer(settings)
        self._threads = ThreadPoolExecutor(settings.prepare_threads, thread_name_prefix="prepare")
        self._engine_threads: dict[ServedModel, ThreadPoolExecutor] = {}
        self.repository = Repository(settings.model_repository, self.models, self._build, self._retire)
        self._guard = guard_from(settings)
        self._certificates = certificates_from(settings)
        self.image_limits = Limits(
            settings.max_image_bytes,
            int(settings.max_image_megapixels * 1e6),
            settings.max_image_side_px,
            DecodeMemory(int(settings.decode_memory_mb * 1e6)),
        )
        self._body_memory = BodyMemory(int(settings.body_memory_mb * 1e6), self.metrics.body_memory)
        admission = Admission(settings.max_in_flight, settings.high_priority_places, self.metrics.in_flight)
        self._drift = drift_from(settings, self.image_limits, self.metrics)
        self._sampler = sampler_from(settings, self.image_limits, self.metrics, self._drift)
        self._shadow = shadow_from(settings, self.metrics, self._sampler, self.models)
        readers = [reader for reader in (self._shadow, self._drift, self._sampler) if reader is not None]
        self.predictor = Predictor(
            self.models,
            self.health,
            admission,
            self._threads,
            self.image_limits,
            settings.default_timeout_ms / 1e3,
            settings.max_mask_bytes,
            ResponseCache(int(settings.response_cache_mb * 1e6), self.metrics),
            self.metrics,
            Exchanges(readers) if readers else None,
        )

    async def load(self, *, check: bool = True) -> None:
        """Load and check every model, then become ready. Raises BundleInvalid."""
        folders = self._settings.bundle_folders()
        if not folders:
            raise BundleInvalid("no model to serve: none is shipped with this installation and RCNN_BUNDLES names none")
        # Together: most of a load is the engine's own work, outside Python's lock.
        for loaded in await asyncio.gather(*(asyncio.to_thread(self._load, folder, check) for folder in folders)):
            self.models.add(self._start(*loaded))
        check_blurred(self._settings, self.models)
        if self._shadow:
            self._shadow.start()
        if self._sampler:
            self._sampler.start()
        self.health.become(State.READY)

    async def _build(self, folder: Path) -> ServedModel:
        """A proven, running model that nobody is sent to yet. Raises BundleInvalid."""
        return self._start(*await asyncio.to_thread(self._load, folder, True))

    def _load(self, folder: Path, check: bool) -> tuple[Bundle, Engine, float]:
        """The bundle in folder, its engine proven and warm, and the seconds that took."""
        start = time.perf_counter()
        settings = self._settings
        bundle = read_bundle(folder, TrustedSigners(settings.bundle_signers) if settings.bundle_signers else None)
        threads = settings.engine_threads or available_cpus()
        log = _log.bind(model=bundle.manifest.name).info
        cache = EngineCache(settings.engine_cache.expanduser() if settings.engine_cache else None, log)
        gpu_bytes = int(settings.gpu_memory_gb * 2**30)
        options = EngineOptions(settings.engine_precision, cache, gpu_bytes, settings.fake_engine_fault_file)
        engine = create_engine(settings.engine, bundle, threads, options, settings.fake_engine_delay_ms / 1e3, log)
        if check and settings.engine != "fake":
            prove(bundle, engine, settings.max_batch_size)
        return bundle, engine, time.perf_counter() - start

    def _start(self, bundle: Bundle, engine: Engine, seconds: float) -> ServedModel:
        name = f"engine-{bundle.manifest.name}"
        executor = ThreadPoolExecutor(2 + engine.lane_count, thread_name_prefix=name)  # batches, loading, lanes
        reports = BatchReports(bundle.id, self.metrics.of_model(bundle.id), self.tracer)
        settings = self._settings
        budget = Budget(settings.max_batch_size, int(settings.max_batch_megapixels * 1e6))
        load_lanes = partial(_load_lanes, bundle, engine) if engine.lane_count else None
        batcher = Batcher(partial(detect_gathered, engine), executor, budget, reports, load_lanes, gather)
        model = ServedModel(bundle, engine, batcher)
        self._engine_threads[model] = executor
        model.batcher.start()
        if self._drift and BASELINE in bundle.manifest.files:
            self._drift.watch(model.id, read_baseline(bundle.path(BASELINE)))
        self.metrics.model_loaded(model.id, engine.name, engine.precision, seconds)
        _log.info(
            "model loaded",
            model=model.id.name,
            version=model.id.version,
            engine=engine.name,
            precision=engine.precision,
            seconds=round(seconds, 2),
        )
        return model

    async def _retire(self, model: ServedModel) -> None:
        """Let a model nobody is sent to any more answer what it holds, then give everything back."""
        await model.uses.none_left()
        await model.batcher.close()
        model.engine.close()
        self._engine_threads.pop(model).shutdown(wait=True)
        if all(served.id != model.id for served in self.models.all()):  # not loaded anew from the same bundle
            self.metrics.model_unloaded(model.id, model.engine.name, model.engine.precision)
        _log.info("model unloaded", model=model.id.name, version=model.id.version)

    async def unload(self) -> None:
        """Finish what was accepted, then give everything back."""
        if self._shadow:
            await self._shadow.close()
        if self._drift:
            await asyncio.to_thread(self._drift.close)
        if self._sampler:
            await asyncio.to_thread(self._sampler.close)
        await asyncio.to_thread(self.tracer.close)
        for model in self.models.all():
            await model.batcher.close()
            model.engine.close()
        for executor in [*self._engine_threads.values(), self._threads]:
            executor.shutdown(wait=True)

    async def serve(self) -> int:
        """
        Open the doors, load, serve until SIGTERM or SIGINT, drain. Raises BundleInvalid or OSError at start.

        Returns the exit code: 1 where accepted requests were left unanswered, else 0. Threads that load or hang may be
        left running.
        """
        signals = StopSignals()
        settings = self._settings
        # The models begin to load in threads, and the doors are imported meanwhile: half of what a start takes.
        loading = asyncio.create_task(self.load())
        await asyncio.sleep(0)
        from service import doors

        inside = self._inside()
        http, admin = doors.http_servers(inside, settings)
        grpc_door = doors.grpc_door(inside, settings)
        grpc_port = await grpc_door.start(settings.host, settings.grpc_port, self._certificates)
        tasks = [asyncio.create_task(server.serve_on_socket()) for server in (http, admin)]
        watchdog = Watchdog(self.models, self.health, settings.engine_hang_s)
        trimming = trim_when_idle(lambda: self.metrics.in_flight_now)
        works = (watch_gpus(self.metrics.gpu_read), self._guard.keep_fresh(), watchdog.watch(), trimming)
        beside = [asyncio.create_task(work) for work in works]
        try:
            await self._finish_loading(loading, signals.asked)
            keep_pauses_short()
            _log.info(self.health.state.value, http_port=http.port, grpc_port=grpc_port, metrics_port=admin.port)
            await signals.asked.wait()
        finally:
            whole = await signals.unless_hurried(self._drain(http, grpc_door), settings.drain_timeout_s)
            unanswered = self.metrics.in_flight_now
            if not whole:
                http.force_exit = admin.force_exit = True
                await grpc_door.stop(0)
            admin.should_exit = True  # last, so that the drain itself can be watched
            for task in beside:
                task.cancel()
            await asyncio.gather(*tasks, *beside, return_exceptions=True)
            if not await signals.unless_hurried(self.unload(), _UNLOAD_S):
                _log.error("engines left as they are", after_s=_UNLOAD_S)
            _log.info("stopped", unanswered=unanswered)
        return 1 if unanswered else 0

    @staticmethod
    async def _finish_loading(loading: "asyncio.Task[None]", stop: asyncio.Event) -> None:
        """Wait until everything is loaded, but do not insist when the signal comes first."""
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if loading.done():
            loading.result()
        else:
            loading.cancel()

    async def _drain(self, http: HttpServer, grpc_door: "GrpcDoor") -> None:
        # 1. Unready at once, and new requests are refused.
        self.health.become(State.DRAINING)
        _log.info("draining", timeout_s=self._settings.drain_timeout_s)
        # 2. Take no new connections; accepted requests finish.
        http.should_exit = True
        await grpc_door.stop(self._settings.drain_timeout_s + 1)
        await http.finished.wait()

    def _inside(self) -> "Inside":
        from service.doors import Inside

        return Inside(
            self.predictor,
            self.models,
            self.repository,
            self.health,
            self.metrics,
            self.tracer,
            self._guard,
            self._certificates,
            self.image_limits,
            self._body_memory,
            self._drift.report if self._drift else dict,
        )


def _create_tracer(settings: Settings) -> Tracer:
    """Raises OSError if traces are wanted and the packages for them are missing."""
    if not settings.traces_url:
        return Tracer()
    try:
        from service.otlp import OtlpTracer
    except ImportError as error:
        raise OSError(f"traces_url is set, and sending traces needs rcnn[tracing]: {error}") from error
    return OtlpTracer(settings.traces_url, settings.trace_sample_ratio, version("rcnn"))


def _load_lanes(bundle: Bundle, engine: Engine) -> list[BatchRunner]:
    """What runs in each lane of engine, proven and warm; none where they do not load."""
    log, start = _log.bind(model=bundle.id.name, version=bundle.id.version), time.perf_counter()
    try:
        lanes = engine.lanes()
        for lane in lanes:
            self_check(bundle, lane)
    except Exception as error:
        log.error("no lanes: the whole engine runs every batch", reason=str(error))
        return []
    log.info("lanes loaded", lanes=len(lanes), seconds=round(time.perf_counter() - start, 2))
    return [partial(detect_batch, lane) for lane in lanes]

"""Every knob, with its consequence. Flags beat RCNN_* variables, which beat the --config file, which beats defaults."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

ZOO = Path(__file__).parent.parent / "model" / "zoo"
MOST_BODY_COPIES = 4  # of a body in memory while it is parsed
SHIPPED = ("nuclei", "blood-cells")  # the first is the default model


class Settings(BaseSettings):
    """The only reader of the environment."""

    model_config = SettingsConfigDict(env_prefix="RCNN_", use_attribute_docstrings=True, extra="forbid", frozen=True)

    bundles: Annotated[tuple[Path, ...], NoDecode] = ()
    """Folders of the models to serve, comma-separated; the first is the default. Empty: those shipped with rcnn."""
    model_repository: Path | None = None
    """Folder of bundles, NAME/VERSION, that anybody who reaches the ports may load and unload. Unset: nobody may."""
    engine: Literal["auto", "onnx", "openvino", "tensorrt", "fake"] = "auto"
    """What runs the graphs. auto times onnx and openvino at the first start and takes the faster."""
    engine_precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 where the CPU has it and the bundle's metrics show it loses at most 0.1 AP, else fp32."""
    engine_cache: Annotated[Path | None, BeforeValidator(lambda value: value or None)] = Path("~/.cache/rcnn/engines")
    """Folder for compiled graphs and auto's choice, trusted as the bundles are. Empty: none, every start compiles."""
    gpu_memory_gb: float = Field(0.0, ge=0)
    """What ONNX Runtime's arena may take on the GPU. 0: all there is."""
    engine_threads: int = Field(0, ge=0)
    """CPU threads of the engine. 0: as many as the container's CPU quota allows."""
    fake_engine_delay_ms: float = Field(20.0, ge=0)
    """How long each batch takes on the fake engine."""
    fake_engine_fault_file: Path | None = None
    """File in which the fake engine reads which fault to have (raise, hang, memory N, abort), for tests of faults."""
    engine_hang_s: float = Field(60.0, gt=0)
    """How long a batch may run before its engine counts as hanging: unready, and not alive, until it goes on."""
    host: str = "0.0.0.0"  # nosec B104  # a pod's ports are for others
    """Address all ports listen on."""
    http_port: int = Field(8000, ge=0, le=65535)
    """REST, OpenAPI and the page. 0: any free port."""
    grpc_port: int = Field(8001, ge=0, le=65535)
    """gRPC. 0: any free port."""
    metrics_port: int = Field(8002, ge=0, le=65535)
    """Metrics and admin. 0: any free port."""
    max_in_flight: int = Field(64, gt=0)
    """Images inside at once, of all requests. Beyond it callers are refused: a short no is kinder than a long wait."""
    high_priority_places: int = Field(8, ge=0)
    """Places beside max_in_flight for images of high priority, which go first. 0: everybody is equal."""
    max_batch_size: int = Field(8, gt=0)
    """Images in one batch at most."""
    max_batch_megapixels: float = Field(8.0, gt=0)
    """Padded pixels in one batch at most, in millions: bounds the engine's memory. A larger image still runs, alone."""
    default_timeout_ms: float = Field(10_000.0, gt=0)
    """Deadline of a request that names none (X-Request-Timeout-Ms, or the gRPC call's deadline)."""
    body_timeout_ms: float = Field(30_000.0, gt=0)
    """How long a request body may take to arrive."""
    header_timeout_ms: float = Field(10_000.0, gt=0)
    """How long a connection may take to send the head of its first request, or of the next once that has begun."""
    keep_alive_s: float = Field(120.0, gt=0)
    """How long an HTTP connection may rest between requests. Longer than the proxy before it keeps idle ones."""
    max_header_bytes: int = Field(32_768, ge=1024)
    """Bytes of a request's head (its line and headers; gRPC's metadata) at most."""
    max_connections: int = Field(1_000, gt=0)
    """HTTP connections at once. Beyond it the longest idle goes: those never answered first, up to half."""
    max_grpc_calls: int = Field(256, gt=0)
    """gRPC calls at once, streams and health checks among them."""
    max_request_bytes: int = Field(64_000_000, gt=0)
    """Bytes of one request's body at most, whatever it holds."""
    body_memory_mb: float = Field(400.0, gt=0)
    """Memory for the bodies of all requests together, copies made while parsing included, in millions of bytes."""
    decode_memory_mb: float = Field(600.0, gt=0)
    """Memory for decoding of all requests together, in millions of bytes; pictures wait for it. 50 megapixels of 8-bit
    grey or RGB take 550; the same with transparency, palettes or 16 bits 1100, and are refused by default."""
    max_image_bytes: int = Field(20_000_000, gt=0)
    """Encoded bytes of one image at most."""
    max_image_megapixels: float = Field(50.0, gt=0)
    """Pixels of one image at most, in millions; read from its header before anything is allocated."""
    max_image_side_px: int = Field(65_500, gt=0)
    """Pixels of one image's longer side at most."""
    max_images_per_request: int = Field(16, gt=0)
    """Images in one multipart or JSON request at most."""
    max_in_flight_per_stream: int = Field(8, gt=0)
    """Images of one gRPC stream under way at once; a client that sends faster waits."""
    max_mask_bytes: int = Field(8_000_000, gt=0)
    """Encoded mask bytes of one image's answer at most; a caller who asks for more is told what to change."""
    response_cache_mb: float = Field(0.0, ge=0)
    """Memory for answers kept for equal bytes, options and model, in millions of bytes. 0: every image is looked at."""
    release: str = Field("", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")
    """What this release is called. REST answers carry it (X-Release), and a shadowed candidate is counted under it."""
    shadow_url: str = Field("", pattern=r"^(https?://[^\s/]+/?)?$")
    """Address of a candidate that is asked a share of the requests too, to compare answers. Empty: none."""
    shadow_candidate: str = Field("candidate", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """What a candidate that does not say its release is counted under: a name for each, or their counts mix."""
    shadow_share: float = Field(0.1, ge=0, le=1)
    """Share of the requests that the candidate is asked too."""
    shadow_timeout_ms: float = Field(10_000.0, gt=0)
    """How long the candidate may take; beyond it the pair counts as candidate_error."""
    shadow_key: Path | None = None
    """File with the API key that the candidate is asked with, one of this service's own and never a client's."""
    shadow_ca: Path | None = None
    """PEM file with the authority of the candidate's certificate, read at start. Unset: the system's authorities."""
    shadow_queue_mb: float = Field(32.0, gt=0)
    """Encoded images that may wait for the candidate, in millions of bytes; beyond it they are dropped and counted."""
    prepare_threads: int = Field(2, gt=0)
    """Threads that decode images and encode masks, beside the engine's own."""
    bundle_signers: Path | None = None
    """PEM file with the Ed25519 public keys of those whose bundles may be served. Unset: bundles need no signature."""
    api_keys: Path | None = None
    """TOML file of API keys, as `rcnn key NAME` writes them; a change counts within a second. Unset: no keys."""
    token_keys: str | None = None
    """JWKS of an OpenID provider, a file or https address; with token_issuer and token_audience. Unset: no tokens."""
    token_issuer: str | None = None
    """The `iss` every token must carry."""
    token_audience: str | None = None
    """The `aud` every token must carry: the name the provider has for this service."""
    tls_certificate: Path | None = None
    """PEM file with the server's certificate and those between it and its authority; with tls_key. Unset: no TLS."""
    tls_key: Path | None = None
    """PEM file with its key. Changed files count from the next connection on."""
    tls_client_ca: Path | None = None
    """PEM file with authorities: REST and gRPC clients must show a certificate of theirs; the metrics port asks not."""
    audit_log: Path | None = None
    """File for a line on who asked what of which model, and the outcome; - is stderr. Unset: none is written."""
    admin_port_only: bool = False
    """Whether models are loaded and unloaded on the metrics port alone, not by the protocol doors."""
    images_per_s: float = Field(0.0, ge=0)
    """Images a second of each caller, at most, where its key says nothing else. Of one pod. 0: no limit."""
    images_per_day: int = Field(0, ge=0)
    """The same by day (UTC), forgotten at a restart."""
    drain_timeout_s: float = Field(25.0, ge=0)
    """After SIGTERM: how long accepted requests may take to finish before the process ends all the same."""
    drain_linger_s: float = Field(1.0, ge=0)
    """After SIGTERM: how long an HTTP connection at rest may bring one more request, whose answer ends it."""
    drift_images_per_s: float = Field(1.0, ge=0)
    """Answered images a second, at most, held against the bundle's baseline.json. 0: no look-out for drift."""
    drift_most_sources: int = Field(16, ge=0)
    """Senders (X-Source) whose drift is told apart; those after them are one. 0: nobody's."""
    samples_url: str = ""
    """Folder or fsspec address where some images and answers are kept for review: docs/sampling.md. Empty: none are."""
    samples_key: Path | None = None
    """File of keys that samples are sealed with, as `rcnn samples key` prints them. Asked for with samples_url."""
    samples_unencrypted: bool = False
    """Keep samples readable for whoever reads the store, instead of samples_key."""
    samples_per_minute: int = Field(10, gt=0)
    """Samples in any sixty seconds at most, a fifth of them for each of the five reasons there are. Of one pod."""
    samples_max_mb: float = Field(1_000.0, gt=0)
    """All samples at samples_url together, in millions of bytes; the oldest make room for new ones."""
    samples_ttl_hours: float = Field(168.0, gt=0)
    """How long a sample is kept at most, while a pod that samples is running."""
    samples_random_share: float = Field(0.001, ge=0, le=1)
    """Share of the answers chosen for no reason, beside those chosen for one."""
    samples_near_threshold: float = Field(0.05, ge=0, le=1)
    """A score less than this above the threshold makes an answer worth a look."""
    samples_blur: Annotated[tuple[str, ...], NoDecode] = ()
    """Classes whose boxes are made unrecognizable before an image is kept, comma-separated."""
    samples_queue_mb: float = Field(32.0, gt=0)
    """Images that may wait to be written, in millions of bytes; beyond it they are dropped and counted."""
    traces_url: str = ""
    """Where traces are posted by OTLP over HTTP, such as http://collector:4318/v1/traces. Empty: nowhere."""
    trace_sample_ratio: float = Field(0.1, ge=0, le=1)
    """Share recorded of requests that come without a traceparent; one that does says itself whether to record it."""
    triton_metric_names: bool = False
    """Also show the inference counters under Triton's names (nv_inference_*), for dashboards written for it."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe line logged."""
    log_format: Literal["json", "console"] = "json"
    """json: one object a line, for machines. console: for people."""

    @field_validator("bundles", "samples_blur", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part for part in value.split(",") if part) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _a_full_request_fits(self) -> "Settings":
        if self.max_images_per_request > self.max_in_flight:
            raise ValueError(
                f"max_in_flight ({self.max_in_flight}) should be at least max_images_per_request "
                f"({self.max_images_per_request}): a request of that many images could never be admitted"
            )
        return self

    @model_validator(mode="after")
    def _the_largest_body_fits(self) -> "Settings":
        needed_mb = self.max_request_bytes * MOST_BODY_COPIES / 1e6
        if self.body_memory_mb < needed_mb:
            raise ValueError(
                f"body_memory_mb ({self.body_memory_mb:g}) should be at least {MOST_BODY_COPIES} times "
                f"max_request_bytes, {needed_mb:g}: a body of that many bytes could never be read"
            )
        return self

    @model_validator(mode="after")
    def _tls_is_whole(self) -> "Settings":
        if (self.tls_certificate is None) != (self.tls_key is None) or (self.tls_client_ca and not self.tls_key):
            raise ValueError("tls_certificate and tls_key go together, and tls_client_ca needs both")
        return self

    @model_validator(mode="after")
    def _tokens_are_for_us(self) -> "Settings":
        parts = (self.token_keys, self.token_issuer, self.token_audience)
        if any(parts) and not all(parts):
            raise ValueError(
                "token_keys, token_issuer and token_audience go together: a token for others is not for us"
            )
        return self

    @model_validator(mode="after")
    def _samples_are_sealed(self) -> "Settings":
        if self.samples_url and (self.samples_key is None) != self.samples_unencrypted:
            raise ValueError(
                "samples_url asks for either samples_key (rcnn samples key makes one) or samples_unencrypted=true"
            )
        return self

    def bundle_folders(self) -> tuple[Path, ...]:
        """The folders to serve: those set, or the shipped ones."""
        return self.bundles or tuple(ZOO / name for name in SHIPPED if (ZOO / name).is_dir())


def read_settings(config: Path | None = None, **flags: Any) -> Settings:
    """Settings from flags that are not None, the environment, and a TOML file. Raises pydantic.ValidationError."""

    class _WithFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            file = (TomlConfigSettingsSource(settings_cls, config),) if config else ()
            return (init_settings, env_settings, *file)

    return _WithFile(**{name: value for name, value in flags.items() if value is not None})

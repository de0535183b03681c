"""Who reads questions with their answers, as the settings ask. Beside the composition root, a reader of settings."""

from collections.abc import Mapping

from service.drift import Drift, DriftObserver
from service.errors import BundleInvalid
from service.images import Limits
from service.models import Models
from service.sampling.choosing import Plan
from service.sampling.sampler import MOST_SWEEP_S, Sampler, SamplingObserver
from service.sampling.seal import read_seal
from service.sampling.store import SampleStore
from service.security.certificates import trusting
from service.settings import Settings
from service.shadow import Candidate, PairReader, Shadow, ShadowObserver


def shadow_from(
    settings: Settings, observer: ShadowObserver, reader: PairReader | None, models: Models
) -> Shadow | None:
    """Raises FileUnusable."""
    if not settings.shadow_url:
        return None
    candidate = Candidate(
        settings.shadow_url,
        settings.shadow_candidate,
        settings.release,
        settings.shadow_share,
        settings.shadow_timeout_ms / 1e3,
        int(settings.shadow_queue_mb * 1e6),
        settings.shadow_key,
        trusting(settings.shadow_ca) if settings.shadow_ca else None,
    )

    def class_thresholds(name: str) -> Mapping[str, float]:
        named = (model.bundle.manifest for model in models.all() if model.id.name == name)
        return next((manifest.postprocess.class_score_thresholds for manifest in named), {})

    return Shadow(candidate, observer, reader, class_thresholds=class_thresholds)


def drift_from(settings: Settings, limits: Limits, observer: DriftObserver) -> Drift | None:
    if settings.drift_images_per_s == 0:
        return None
    return Drift(limits, observer, settings.drift_images_per_s, settings.drift_most_sources)


def sampler_from(settings: Settings, limits: Limits, observer: SamplingObserver, drift: Drift | None) -> Sampler | None:
    """Raises KeyUnusable or StoreUnusable."""
    if not settings.samples_url:
        return None
    seal = read_seal(settings.samples_key) if settings.samples_key else None
    ttl_s = settings.samples_ttl_hours * 3600
    store = SampleStore(settings.samples_url, seal, int(settings.samples_max_mb * 1e6), ttl_s)
    plan = Plan(
        settings.samples_per_minute,
        settings.samples_random_share,
        settings.samples_near_threshold,
        frozenset(settings.samples_blur),
        int(settings.samples_queue_mb * 1e6),
    )
    has_drifted = drift.has_drifted if drift else _never
    return Sampler(plan, store, limits, observer, has_drifted, sweep_s=min(ttl_s, MOST_SWEEP_S))


def _never(_model: str, _source: str | None) -> bool:
    return False


def check_blurred(settings: Settings, models: Models) -> None:
    """Raises BundleInvalid if a class that should be blurred is one that no model here finds: a slip would show it."""
    known = {label for model in models.all() for label in model.bundle.manifest.labels}
    unknown = [label for label in settings.samples_blur if label not in known]
    if settings.samples_url and unknown:
        found = ", ".join(sorted(known))
        raise BundleInvalid(f"samples_blur: no model served here finds {', '.join(unknown)}; they find {found}")

"""The guard and the certificates that the settings ask for. Beside the composition root, a reader of settings."""

from service.security.allowance import Rate
from service.security.certificates import CertificateFiles, Certificates
from service.security.guard import Guard
from service.security.setup import Sources, create_guard
from service.settings import Settings


def guard_from(settings: Settings) -> Guard:
    """Raises FileUnusable."""
    rate = Rate(settings.images_per_s, 0, settings.images_per_day)
    issuer, audience = settings.token_issuer, settings.token_audience
    return create_guard(Sources(settings.api_keys, settings.token_keys, issuer, audience, rate))


def certificates_from(settings: Settings) -> Certificates | None:
    """None: no TLS. Raises FileUnusable."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return Certificates(CertificateFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_ca))

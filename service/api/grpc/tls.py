"""TLS of the gRPC door: every connection gets the certificates of the moment."""

import grpc

from service.security.certificates import Certificates, Loaded


def server_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """For a server's lifetime; with authorities for clients, connections without a certificate of theirs are ended."""
    loaded = certificates.now()

    def if_changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal loaded
        if (newest := certificates.now()) is loaded:
            return None
        loaded = newest
        return _configuration(newest)

    asks = loaded.client_ca_pem is not None
    made: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(_configuration(loaded), if_changed, asks)  # type: ignore[arg-type]  # None is documented
    return made


def _configuration(loaded: Loaded) -> grpc.ServerCertificateConfiguration:
    made: grpc.ServerCertificateConfiguration = grpc.ssl_server_certificate_configuration(
        [(loaded.key_pem, loaded.certificate_pem)], root_certificates=loaded.client_ca_pem
    )
    return made

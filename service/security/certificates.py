"""The server's certificate, its key, and whose clients it trusts: PEM files, read anew as they change."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from service.security.watched import FileUnusable, Watched


@dataclass(frozen=True)
class CertificateFiles:
    """client_ca: the authorities whose certificates clients must show; None: they need none."""

    certificate: Path
    key: Path
    client_ca: Path | None


@dataclass(frozen=True)
class Loaded:
    """One state of the files, proven to belong together."""

    certificate_pem: bytes
    key_pem: bytes
    client_ca_pem: bytes | None
    context: ssl.SSLContext


class Certificates:
    """Every handshake sees the newest files that could be used; connections that stand keep theirs."""

    def __init__(self, files: CertificateFiles) -> None:
        """Raises FileUnusable."""
        paths = [path for path in (files.certificate, files.key, files.client_ca) if path is not None]
        self._watched = Watched(paths, lambda: _load(files))

    def now(self) -> Loaded:
        """The same object as long as nothing has changed."""
        return self._watched.now()

    def server_context(self, *, ask_clients: bool) -> ssl.SSLContext:
        """
        For a server's lifetime; each handshake gets certificate and trusted authorities from the files as they are.

        ask_clients: demand a client's certificate, where authorities are named at all.
        """
        context = _context(ask_clients and self.now().client_ca_pem is not None)

        def use_newest(connection: ssl.SSLObject, name: str, first: ssl.SSLContext) -> None:
            connection.context = self.now().context

        context.sni_callback = use_newest  # also where the client names no server
        return context


def trusting(authority: Path) -> ssl.SSLContext:
    """For asking servers whose certificates that PEM file's authorities signed. Raises FileUnusable."""
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:  # ssl.SSLError is one
        raise FileUnusable(f"TLS: {authority.name} cannot be used: {error}") from None


def _context(ask_clients: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ask_clients:
        context.verify_mode = ssl.CERT_REQUIRED
        # A resumed session would spare a client the check that its authority is still trusted.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


def _load(files: CertificateFiles) -> Loaded:
    context = _context(files.client_ca is not None)
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
        if files.client_ca:
            context.load_verify_locations(files.client_ca)
        ca_pem = files.client_ca.read_bytes() if files.client_ca else None
        return Loaded(files.certificate.read_bytes(), files.key.read_bytes(), ca_pem, context)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        names = ", ".join(path.name for path in (files.certificate, files.key, files.client_ca) if path)
        raise FileUnusable(f"TLS: {names} cannot be used together: {error}") from None


def _no_password() -> str:
    raise ValueError("the key is encrypted; nobody is here to type a password")

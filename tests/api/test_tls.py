"""TLS and client certificates on a real server, changed under way."""

import os
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.bundle import Bundle
from service.security.certificates import CertificateFiles, Certificates
from service.security.watched import FileUnusable
from tests.conftest import Served, encode_picture, run_server

GOOD = encode_picture(80, 60, 200)


class Authority:
    """Signs certificates with the real openssl, in a folder of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        self.folder, self.pem = folder, folder / "ca.pem"
        self._run("req", "-x509", *self._new_key("ca"), "-out", "ca.pem", "-subj", f"/CN={name}", "-days", "2")

    def sign(self, name: str) -> tuple[Path, Path]:
        """Certificate and key for name, good for 127.0.0.1 and localhost."""
        (self.folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self._run("req", *self._new_key(name), "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2")
        self._run("x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _new_key(self, name: str) -> tuple[str, ...]:
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


@dataclass(frozen=True)
class Secured:
    served: Served
    folder: Path  # certificate.pem, key.pem, clients.pem as the server reads them
    old: Authority
    new: Authority


def put(source: Path, target: Path) -> None:
    """As a Secret's volume changes: at once, under the same name."""
    new = target.with_suffix(".new")
    new.write_bytes(source.read_bytes())
    os.replace(new, target)


@pytest.fixture(scope="module")
def secured(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Server certificate and trusted clients by the old authority."""
    root = tmp_path_factory.mktemp("tls")
    old, new, folder = Authority(root / "old", "old"), Authority(root / "new", "new"), root / "mounted"
    folder.mkdir()
    certificate, key = old.sign("server")
    put(certificate, folder / "certificate.pem")
    put(key, folder / "key.pem")
    put(old.pem, folder / "clients.pem")
    environment = {
        "RCNN_ENGINE": "fake",
        "RCNN_BUNDLES": str(toy_bundle.root),
        "RCNN_TLS_CERTIFICATE": str(folder / "certificate.pem"),
        "RCNN_TLS_KEY": str(folder / "key.pem"),
        "RCNN_TLS_CLIENT_CA": str(folder / "clients.pem"),
    }
    with run_server(environment) as served:
        yield Secured(served, folder, old, new)


def over_rest(secured: Secured, trusts: Authority, client: tuple[Path, Path] | None) -> str:
    """What comes of a detection: ok, or the error's kind."""
    context = ssl.create_default_context(cafile=str(trusts.pem))
    if client:
        context.load_cert_chain(*client)
    url = secured.served.http_url.replace("http://", "https://")
    try:
        answer = httpx.post(f"{url}/v1/detect", content=GOOD, verify=context, trust_env=False)
    except httpx.HTTPError as error:
        return "certificate" if "CERTIFICATE_VERIFY_FAILED" in str(error) else "refused"
    assert answer.headers["strict-transport-security"]
    return "ok" if answer.status_code == 200 else str(answer.status_code)


def over_grpc(secured: Secured, trusts: Authority, client: tuple[Path, Path] | None) -> str:
    pair = {"certificate_chain": client[0].read_bytes(), "private_key": client[1].read_bytes()} if client else {}
    credentials = grpc.ssl_channel_credentials(trusts.pem.read_bytes(), **pair)
    options = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
    with grpc.secure_channel(secured.served.grpc_address, credentials, options) as channel:
        try:
            pb_grpc.DetectionServiceStub(channel).Detect(pb.DetectRequest(image=GOOD), timeout=20)
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            return "certificate" if "CERTIFICATE_VERIFY_FAILED" in str(error.details()) else "refused"
    return "ok"


DOORS = pytest.mark.parametrize("ask", [over_rest, over_grpc])


@DOORS
def test_a_client_with_a_trusted_certificate_is_answered(secured: Secured, ask: Callable[..., str]) -> None:
    """Over TLS, by a server it can check."""
    assert ask(secured, secured.old, secured.old.sign("client")) == "ok"


@DOORS
def test_others_do_not_get_in(secured: Secured, ask: Callable[..., str]) -> None:
    """Without a certificate, or with one by an authority nobody named."""
    assert ask(secured, secured.old, None) == "refused"
    assert ask(secured, secured.old, secured.new.sign("stranger")) == "refused"


def test_in_the_clear_nothing_is_answered(secured: Secured) -> None:
    """Neither door falls back."""
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{secured.served.http_url}/livez", trust_env=False)
    with grpc.insecure_channel(secured.served.grpc_address) as channel, pytest.raises(grpc.RpcError):
        pb_grpc.DetectionServiceStub(channel).Detect(pb.DetectRequest(image=GOOD), timeout=5)


def test_probes_and_scrapes_need_no_client_certificate(secured: Secured) -> None:
    """On the metrics port, over TLS: the kubelet has none to show."""
    context = ssl.create_default_context(cafile=str(secured.old.pem))
    url = secured.served.metrics_url.replace("http://", "https://")
    for path in ("/livez", "/readyz", "/startupz", "/metrics"):
        assert httpx.get(url + path, verify=context, trust_env=False).status_code == 200


def test_old_protocols_are_refused(secured: Secured) -> None:
    """TLS 1.1 has been broken for long."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    url = secured.served.metrics_url.replace("http://", "https://")
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, verify=context, trust_env=False)


def test_certificates_change_without_a_restart(secured: Secured) -> None:
    """First half a change, which is not used; then all of it: a new identity, new clients in, the old ones out."""
    old_client, new_client = secured.old.sign("client"), secured.new.sign("client")
    certificate, key = secured.new.sign("server")
    put(certificate, secured.folder / "certificate.pem")  # without its key
    for ask in (over_rest, over_grpc):
        assert ask(secured, secured.old, old_client) == "ok"
    put(key, secured.folder / "key.pem")
    put(secured.new.pem, secured.folder / "clients.pem")
    for ask in (over_rest, over_grpc):
        assert ask(secured, secured.new, new_client) == "ok"
        assert ask(secured, secured.new, old_client) == "refused"
        assert ask(secured, secured.old, new_client) == "certificate"


@pytest.mark.parametrize("broken", ["certificate", "key", "client_ca", "mismatch"])
def test_files_that_cannot_be_used_say_so(tmp_path: Path, broken: str) -> None:
    """At start, by name: missing, not PEM, or not belonging together."""
    authority = Authority(tmp_path / "ca", "ca")
    certificate, key = authority.sign("server")
    paths = {"certificate": certificate, "key": key, "client_ca": authority.pem}
    if broken == "mismatch":
        paths["key"] = authority.sign("other")[1]
    else:
        paths[broken] = tmp_path / "broken.pem"
        paths[broken].write_text("not PEM")
    with pytest.raises(FileUnusable, match="cannot be used together"):
        Certificates(CertificateFiles(**paths))

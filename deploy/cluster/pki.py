"""The cluster's authority, its node's serving certificate, a client certificate and a kubeconfig for each component."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.cluster import layout

CLIENTS = {
    # name of the kubeconfig: (user, group), as the apiserver's own roles know them
    "admin": ("admin", "system:masters"),
    "apiserver": ("kube-apiserver-kubelet-client", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{layout.NODE}", "system:nodes"),
    "proxy": ("system:kube-proxy", ""),
}
_VALID_DAYS = 30
_NAMES = ["localhost", layout.NODE, "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
_NAMES += ["custom-metrics.kube-system.svc", "metrics-server.kube-system.svc"]
_ADDRESSES = ["127.0.0.1", layout.NODE_ADDRESS, layout.SERVICE_ADDRESS]


@dataclass(frozen=True)
class Authority:
    """Signs certificates; its own is in ca.crt."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def write_certificates() -> None:
    """pki/ and kubeconfig/ below the node's folder."""
    layout.certificate("ca").parent.mkdir(parents=True)
    layout.kubeconfig().parent.mkdir(parents=True)
    authority = make_authority()
    _write(layout.certificate("ca"), _pem(authority.certificate))
    issue(authority, "server", layout.NODE, "", [x509.DNSName(name) for name in _NAMES] + _ip_names(_ADDRESSES))
    for client, (user, group) in CLIENTS.items():
        issue(authority, client, user, group, [])
        write_kubeconfig(client)
    accounts = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write(layout.key("accounts"), _key_pem(accounts))
    public, info = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    _write(layout.root() / "pki" / "accounts.pub", accounts.public_key().public_bytes(public, info))


def make_authority() -> Authority:
    private = ec.generate_private_key(ec.SECP256R1())
    name = _name("rcnn-e2e", "")
    made = _builder(name, name, private.public_key())
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return Authority(private, made.sign(private, hashes.SHA256()))


def issue(authority: Authority, file: str, user: str, group: str, names: list[x509.GeneralName]) -> None:
    """FILE.crt and FILE.key for both ends of a connection; user is the common name, group the organization."""
    private = ec.generate_private_key(ec.SECP256R1())
    made = _builder(_name(user, group), authority.certificate.subject, private.public_key())
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    made = made.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    _write(layout.certificate(file), _pem(made.sign(authority.key, hashes.SHA256())))
    _write(layout.key(file), _key_pem(private))


def write_kubeconfig(client: str) -> None:
    user = {"client-certificate": str(layout.certificate(client)), "client-key": str(layout.key(client))}
    server = f"https://{layout.ADDRESSES['apiserver']}"
    cluster = {"server": server, "certificate-authority": str(layout.certificate("ca"))}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "rcnn-e2e", "cluster": cluster}],
        "users": [{"name": client, "user": user}],
        "contexts": [{"name": "rcnn-e2e", "context": {"cluster": "rcnn-e2e", "user": client}}],
        "current-context": "rcnn-e2e",
    }
    _write(layout.kubeconfig(client), yaml.safe_dump(content).encode())


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return x509.CertificateBuilder(
        issuer,
        subject,
        public,
        x509.random_serial_number(),
        now - datetime.timedelta(minutes=5),
        now + datetime.timedelta(days=_VALID_DAYS),
    )


def _name(user: str, group: str) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _ip_names(addresses: list[str]) -> list[x509.GeneralName]:
    return [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)

"""The parts of the cluster that need no cluster: pins, certificates, what is said when something is missing."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from deploy.cluster import build, configuration, layout, pins, pki, preconditions
from deploy.cluster.components import add_ons, control_plane
from deploy.cluster.images import pack

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def command(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    started = [sys.executable, "-m", "deploy.cluster", *arguments]
    known = {**os.environ, **environment}
    return subprocess.run(started, capture_output=True, text=True, check=False, cwd=ROOT, env=known)


def test_every_part_is_pinned_to_one_version_and_makes_something() -> None:
    for pin in pins.read_pins().values():
        assert pin.version.startswith("v")
        assert bool(pin.module) != bool(pin.local)
        assert pin.binaries or pin.files


def test_every_program_of_the_node_is_pinned_or_named_with_its_debian_package() -> None:
    pinned = {str(pin.folder / name) for pin in pins.read_pins().values() for name in pin.binaries}
    for component in control_plane() + add_ons():
        program = component.command[0]
        assert program in pinned or Path(program).name in ("containerd", "alertmanager", "prometheus-alertmanager")


def test_a_new_version_has_a_folder_of_its_own() -> None:
    old, new = pins.Pin("etcd", "v1.0.0"), pins.Pin("etcd", "v1.0.1")
    assert old.folder != new.folder


def test_a_part_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(build.BuildFailed, match=r"nginx is no part of the cluster; the parts are pause, etcd, "):
        build.build(["nginx"])


def test_a_program_without_a_pin_is_told_with_those_that_have_one() -> None:
    with pytest.raises(KeyError, match="no pin makes nginx"):
        pins.binary("nginx")


def test_without_the_programs_of_debian_their_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(preconditions.Missing, match=r"apt-get install containerd .*iptables"):
        preconditions.check()


def test_whoever_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(preconditions.Missing, match="not root"):
        preconditions.check()


def test_a_cluster_that_is_not_up_says_so_and_how_to_start_it() -> None:
    status, run, down = command("status"), command("run", "--", "true"), command("down")
    assert (status.returncode, status.stdout) == (3, "down\n")
    assert (run.returncode, run.stderr) == (2, "cluster: it is not up; make cluster starts it\n")
    assert down.returncode == 0


def test_each_component_has_a_certificate_of_the_authority_under_the_name_the_apiserver_knows() -> None:
    pki.write_certificates()
    authority = x509.load_pem_x509_certificate(layout.certificate("ca").read_bytes())
    for client, (user, group) in pki.CLIENTS.items():
        certificate = x509.load_pem_x509_certificate(layout.certificate(client).read_bytes())
        certificate.verify_directly_issued_by(authority)
        expected = f"CN={user},O={group}" if group else f"CN={user}"
        assert certificate.subject.rfc4514_string() == expected
        assert layout.key(client).stat().st_mode & 0o077 == 0
        config = yaml.safe_load(layout.kubeconfig(client).read_text())
        assert config["users"][0]["user"]["client-certificate"] == str(layout.certificate(client))


def test_the_rule_for_the_adapter_is_the_one_the_documentation_gives() -> None:
    rules = yaml.safe_load((ROOT / "deploy/cluster/adapter.yaml").read_text())["rules"]
    blocks = (ROOT / "docs/deploy.md").read_text().split("```")[1::2]
    documented = next(yaml.safe_load(block) for block in blocks if block.startswith("\nrules:"))
    assert rules == documented["rules"]


def test_prometheus_finds_pods_by_the_clusters_own_kubeconfig() -> None:
    pki.write_certificates()
    configuration.write_configuration()
    written = yaml.safe_load((layout.root() / "conf" / "prometheus.yaml").read_text())
    (job,) = written["scrape_configs"]
    assert job["kubernetes_sd_configs"] == [{"role": "pod", "kubeconfig_file": str(layout.kubeconfig())}]


def test_a_packed_program_is_an_image_of_one_layer(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"\x7fELF")
    pack(program, "localhost/pause:1", tmp_path / "pause.tar")
    with tarfile.open(tmp_path / "pause.tar") as archive:
        (manifest,) = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
        layer = archive.extractfile(manifest["Layers"][0])
        assert manifest["RepoTags"] == ["localhost/pause:1"]
        assert tarfile.open(fileobj=layer).extractfile("pause").read() == b"\x7fELF"  # type: ignore[union-attr]

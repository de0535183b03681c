"""Runbooks are read at three in the morning: what they say to type has to work."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.alerts.rules import RUNBOOKS
from deploy.dashboards.__main__ import DASHBOARDS

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / RUNBOOKS
PAGES = sorted(FOLDER.glob("Rcnn*.md"))
OPERATIONS = ROOT / "docs/operations.md"
PARTS = ["Symptom", "Meaning", "First look", "Fix", "Rollback", "Escalate"]
PROGRAMS = {"kubectl", "helm", "curl", "rcnn", "promtool", "grep", "tail", "export"}

ELSEWHERE = {
    "up",
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "kube_pod_container_status_last_terminated_reason",
    "kube_pod_container_status_restarts_total",
    "certmanager_certificate_expiration_timestamp_seconds",
    "probe_ssl_earliest_cert_expiry",
}
"""Metrics of Prometheus, prometheus_client, kube-state-metrics, cert-manager and the blackbox exporter."""

SHADOW_AND_DRIFT = {"rcnn_shadow_pairs_total", "rcnn_shadow_dropped_total", "rcnn_drift_psi", "rcnn_drift_samples"}
"""Exposed where shadowing and drift are on."""


def rules() -> list[dict[str, Any]]:
    files = (ROOT / "helm/rcnn/rules").glob("*.yaml")
    return [rule for path in files for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """Each program with its arguments, pipes taken apart, assignments left out."""
    for line in "\n".join(blocks(page, "bash")).splitlines():
        words = shlex.split(line, comments=True)
        while "|" in words:
            yield words[: words.index("|")]
            words = words[words.index("|") + 1 :]
        if words and not re.fullmatch(r"\w+=.*", words[0]):
            yield words


def find_program(name: str) -> str | None:
    if name == "rcnn":
        return str(Path(sys.executable).with_name("rcnn"))
    built = ROOT / "deploy/tools" / f"{name}.sh"
    cached = (
        subprocess.run([built, "--cached"], capture_output=True, text=True, check=False) if built.exists() else None
    )
    return cached.stdout.strip() if cached and cached.returncode == 0 else shutil.which(name)


@cache
def help_of(program: str, *subcommands: str) -> str:
    asked = subprocess.run([program, *subcommands, "--help"], capture_output=True, text=True, check=False)
    shared = help_of(program, "options") if program.endswith("kubectl") and subcommands != ("options",) else ""
    return asked.stdout + shared


@pytest.fixture(params=[*PAGES, FOLDER / "README.md"], ids=lambda path: path.stem)
def page(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    linked = {rule["annotations"]["runbook_url"] for rule in rules() if "alert" in rule}
    assert linked == {str(path.relative_to(ROOT)) for path in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_runbook_has_its_six_parts_in_order_and_the_urgency_of_its_alert(page: Path) -> None:
    text = page.read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == PARTS
    assert text.startswith(f"# {page.stem}\n")
    alert = next(rule for rule in rules() if rule.get("alert") == page.stem)
    assert f"Severity: {alert['labels']['severity']}" in text
    assert blocks(page, "promql"), "no query to look with"


@pytest.mark.parametrize("page", [*PAGES, FOLDER / "README.md", OPERATIONS], ids=lambda path: path.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file here, or to a dashboard by its uid."""
    uids = {build().uid for build in DASHBOARDS}
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("/d/"):
            assert target.removeprefix("/d/") in uids, target
        else:
            assert (page.parent / target).exists(), target


def test_commands_are_shell_and_of_programs_a_responder_has(page: Path) -> None:
    for block in blocks(page, "bash"):
        checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
    assert {words[0] for words in commands(page)} <= PROGRAMS


def test_variables_are_those_the_readme_sets_or_set_beforehand(page: Path) -> None:
    known = set(re.findall(r"(\w+)=", "".join(blocks(FOLDER / "README.md", "bash"))))
    shell = "".join(blocks(page, "bash"))
    assert set(re.findall(r"\$(\w+)", shell)) <= known | set(re.findall(r"^(\w+)=", shell, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize("program", ["kubectl", "helm", "rcnn"])
def test_subcommands_exist_and_know_the_flags_used(program: str) -> None:
    """The program's own help is the witness."""
    path = find_program(program)
    if path is None:
        pytest.skip(f"no {program} on PATH")
    used = [words for page in [*PAGES, FOLDER / "README.md"] for words in commands(page) if words[0] == program]
    assert used
    for words in used:
        mine = words[1 : words.index("--")] if "--" in words else words[1:]
        plain = list(takewhile(lambda word: re.fullmatch(r"[a-z][a-z-]*", word), mine))
        said = help_of(path, *plain[:3])
        assert re.search(rf"{program} {plain[0]}\b", said), words
        for flag in (word.split("=")[0] for word in mine if word.startswith("--") and word != "--help"):
            assert re.search(rf"{flag}\b", said), (words, flag)


def test_queries_parse(promtool: str, tmp_path: Path) -> None:
    """promtool reads them as the expressions of rules."""
    queries = [query.strip() for path in PAGES for query in blocks(path, "promql")]
    operations = [
        query.replace(r"\|", "|") for query in re.findall(r"\| `(.+)` \|$", OPERATIONS.read_text(), re.MULTILINE)
    ]
    assert len(operations) == 4
    records = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries + operations)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": records}]}))
    checked = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("page", [*PAGES, OPERATIONS], ids=lambda path: path.stem)
def test_queries_and_alerts_ask_only_for_metrics_there_are(page: Path) -> None:
    """Exposed by the service, recorded by the rules, or known to come from elsewhere."""
    from deploy.judge.metrics import JudgeMetrics
    from service.metrics import Metrics

    families = [*Metrics().registry.collect(), *JudgeMetrics().registry.collect()]
    exposed = {f"{family.name}{end}" for family in families for end in ("", "_total", "_bucket", "_sum", "_count")}
    known = exposed | {rule["record"] for rule in rules() if "record" in rule} | ELSEWHERE | SHADOW_AND_DRIFT
    alert = [rule["expr"] for rule in rules() if rule.get("alert") == page.stem]
    for query in (*blocks(page, "promql"), *alert):
        named = re.findall(r"\b(?:rcnn[_:]|kube_|process_|certmanager_|probe_)[\w:]+", query)
        assert set(named) <= known, query

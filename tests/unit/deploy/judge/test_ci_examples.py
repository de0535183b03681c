"""The pipelines in docs/ci: YAML, commands that our command line reads, exit codes that fail a job."""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from deploy.judge.commands import app

CI = Path(__file__).parents[4] / "docs/ci"


def github_job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((CI / "github-actions.yml").read_text())["jobs"]["gate"]
    return job


def gitlab_job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((CI / "gitlab-ci.yml").read_text())["gate"]
    return job


def judging_script() -> str:
    (script,) = (step["run"] for step in github_job()["steps"] if "rcnn gate" in step.get("run", ""))
    return str(script)


def flags_of(script: str) -> list[str]:
    """The words after `rcnn gate` up to the next shell operator."""
    (line,) = (line for line in script.replace("\\\n", " ").splitlines() if "rcnn gate" in line)
    words = shlex.split(line)
    return words[2 : words.index("||")] if "||" in words else words[2:]


@pytest.mark.parametrize("script", [judging_script(), *gitlab_job()["script"]], ids=["github", "gitlab"])
def test_the_commands_are_ones_the_command_line_knows(script: str) -> None:
    flags = flags_of(script)
    assert flags[:6] == ["bundle", "$NEW", "--against", "$OLD", "--data", "$DATA"]
    known = CliRunner().invoke(app, [*flags, "--help"])
    assert known.exit_code == 0, known.output
    assert CliRunner().invoke(app, [*flags, "--no-such-flag", "--help"]).exit_code == 2


@pytest.mark.parametrize("code, job_fails", [(0, False), (1, True), (2, True), (3, False)])
def test_a_rollback_fails_the_job_and_undecided_warns(code: int, job_fails: bool, tmp_path: Path) -> None:
    """The step as GitHub runs it (bash -e -o pipefail), with a command of that name which only ends with a code."""
    command = tmp_path / "rcnn"
    command.write_text(f"#!/bin/sh\nexit {code}\n")
    command.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RUNNER_TEMP": str(tmp_path), **github_job()["env"]}
    step = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", judging_script()]
    ran = subprocess.run(step, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode != 0) == job_fails
    assert ("::warning" in ran.stdout) == (code == 3)


def test_gitlab_lets_only_undecided_pass() -> None:
    job = gitlab_job()
    assert job["allow_failure"] == {"exit_codes": 3}
    assert not [line for line in job["script"] if "||" in line or "true" in line]


def test_verdicts_are_kept_whatever_they_say() -> None:
    (upload,) = (step for step in github_job()["steps"] if "upload-artifact" in step.get("uses", ""))
    assert upload["if"] == "always()"
    assert gitlab_job()["artifacts"]["when"] == "always"
    for flags, kept in ((judging_script(), upload["with"]["path"]), (gitlab_job()["script"][0], "verdict/")):
        assert f"--out {kept.rstrip('/')}" in flags

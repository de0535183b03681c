"""Values that cannot work are refused when the chart is rendered, in words that say what to change."""

from collections.abc import Callable
from typing import Any

import pytest

Refuse = Callable[..., str]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param(["--set", "replica=3"], ["replica"], id="misspelt"),
        pytest.param(["--set", "settings.maxInflight=3"], ["settings", "maxInflight"], id="misspelt-setting"),
        pytest.param(["--set", "image.tags=1"], ["image", "tags"], id="misspelt-in-image"),
        pytest.param(["--set", "probes.readiness.path=/x"], ["readiness", "path"], id="probe-path"),
        pytest.param(["--set", "settings.engine=torch"], ["settings", "engine", "openvino"], id="unknown-engine"),
        pytest.param(["--set", "replicas=-1"], ["replicas"], id="negative"),
        pytest.param(["--set-string", "replicas=2"], ["replicas", "integer"], id="text-for-a-number"),
        pytest.param(["--set", "image.digest=sha256:12"], ["digest"], id="short-digest"),
        pytest.param(
            ["--set", "podDisruptionBudget.maxUnavailable=0"], ["maxUnavailable"], id="budget-that-blocks-drains"
        ),
        pytest.param(
            ["--set-json", 'extraEnv=[{"name":"RCNN_ENGINE"}]'],
            ["extraEnv", "name"],
            id="setting-behind-the-charts-back",
        ),
    ],
)
def test_a_wrong_value_is_named(refuse: Refuse, flags: list[str], words: list[str]) -> None:
    """The message names the key, so that nobody has to search a values file of two hundred lines."""
    message = refuse(*flags)
    missing = [word for word in words if word not in message]
    assert not missing, f"{missing} not in: {message}"


@pytest.mark.parametrize(
    ("sleep", "drain", "needed"),
    [
        pytest.param(10, 60, 75, id="long-drain"),
        pytest.param(30, 25, 60, id="long-sleep"),
        pytest.param(10, 30.5, 46, id="rounded-up"),
    ],
)
def test_a_grace_period_too_short_for_the_drain_is_refused_with_advice(
    refuse: Refuse, sleep: int, drain: float, needed: int
) -> None:
    """Kubernetes would kill the pod with requests inside; the message does the sum and says what to set."""
    message = refuse("--set-json", f"preStopSleepSeconds={sleep},settings.drainTimeoutS={drain}")
    assert "terminationGracePeriodSeconds is 45" in message
    assert f"Set terminationGracePeriodSeconds to at least {needed}" in message


@pytest.mark.parametrize(("sleep", "drain", "grace"), [(10, 60, 75), (1, 0, 6), (10, 30.5, 46)])
def test_a_grace_period_that_just_fits_is_accepted(
    template: Callable[..., Any], sleep: int, drain: float, grace: int
) -> None:
    """The advice of the refusal is good: the number it names works, and one less does not."""
    stopping = f"preStopSleepSeconds={sleep},settings.drainTimeoutS={drain}"
    assert template("--set-json", f"{stopping},terminationGracePeriodSeconds={grace}").returncode == 0
    assert template("--set-json", f"{stopping},terminationGracePeriodSeconds={grace - 1}").returncode != 0


def test_the_services_own_drain_counts_when_the_setting_is_left_out(refuse: Refuse) -> None:
    """Taking the key away does not take the drain away: the service then waits its default of 25 seconds."""
    message = refuse("--set", "settings.drainTimeoutS=null,terminationGracePeriodSeconds=30")
    assert "25 (settings.drainTimeoutS)" in message


def test_a_claim_without_bundles_is_refused_with_an_example(refuse: Refuse) -> None:
    """A mounted volume that nothing is served from is a mistake, told with the flag that mends it."""
    assert "--set 'model.bundles={" in refuse("--set", "model.existingClaim=zoo")


def test_bundles_without_a_claim_are_refused(refuse: Refuse) -> None:
    """They would be looked for on a volume that is not there."""
    assert "Set model.existingClaim" in refuse("--set", "model.bundles={maskrcnn-r50/3}")


def test_a_cluster_too_old_for_a_native_sleep_is_refused(refuse: Refuse) -> None:
    """Older clusters would drop preStop.sleep in silence, and every rollout would cost requests."""
    assert "1.29" in refuse("--kube-version", "1.29.0")

"""One tenant beside another that floods the service."""

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from loadtests.bench.beside_a_flood import Kinds, compare
from loadtests.bench.figures import Plan, Result
from loadtests.bench.parts.overload import DEADLINE_MS, ENGINE_DELAY_MS
from loadtests.driver import Target
from loadtests.serving import serving

TITLE = "tenants: one tenant while another floods the service"
SHARE = 0.3
"""Of the capacity: what the tenant asks for, less than the half it could have."""


def measure(plan: Plan) -> Result:
    """One API key's traffic alone and under three times the capacity from another key, taking turns."""
    plan = replace(plan, engine_delay_ms=ENGINE_DELAY_MS)
    with tempfile.TemporaryDirectory(prefix="rcnn-keys-") as folder:
        keys = Path(folder) / "keys.toml"
        tenant, flood = _new_key("tenant", keys), _new_key("flood", keys)
        with serving(plan.service(api_keys=keys)) as service:
            of_tenant, of_flood = (
                Target(service.url, deadline_ms=DEADLINE_MS, headers=(("Authorization", f"Bearer {key}"),))
                for key in (tenant, flood)
            )
            return compare(plan, Kinds("the tenant's", of_tenant, of_flood, SHARE), "tenants")


def _new_key(name: str, keys: Path) -> str:
    """A key of name, its entry appended to the file keys."""
    command = [sys.executable, "-m", "service.cli", "key", name]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    with keys.open("a") as entries:
        entries.write(made.stdout)
    return made.stderr.strip()

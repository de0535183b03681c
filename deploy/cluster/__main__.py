"""
A whole single-node Kubernetes without Docker: `make cluster`, `make cluster-down`.

    python -m deploy.cluster build [PART...]   build what pins.toml names, once
    python -m deploy.cluster up [--bare]       build what is missing, and start
    python -m deploy.cluster load FILE         bring an image, as an archive
    python -m deploy.cluster run -- COMMAND    on the node: kubectl and helm know the cluster, its names resolve
    python -m deploy.cluster rules             hand the cluster's PrometheusRules to its Prometheus
    python -m deploy.cluster status            what runs; exit code 0: all of it
    python -m deploy.cluster down              end it; nothing stays
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.cluster import lifecycle
from deploy.cluster.build import BARE, BuildFailed, build
from deploy.cluster.images import NotLoaded, load
from deploy.cluster.lifecycle import CannotStart, NotRunning
from deploy.cluster.preconditions import Missing
from deploy.cluster.rules import hand_over_rules


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return _act(options)
    except (BuildFailed, CannotStart, Missing, NotLoaded, NotRunning) as problem:
        print(f"cluster: {problem}", file=sys.stderr)
        return 2


def _act(options: argparse.Namespace) -> int:
    match options.action:
        case "build":
            build(options.part or None)
        case "up":
            lifecycle.up(BARE if options.bare else None)
        case "load":
            lifecycle.run([sys.executable, "-m", "deploy.cluster", "_load", str(options.file.resolve())])
        case "_load":  # the same, already on the node
            print("\n".join(load(options.file)))
        case "run":
            lifecycle.run(options.command)
        case "rules":
            lifecycle.run([sys.executable, "-m", "deploy.cluster", "_rules"])
        case "_rules":
            print("\n".join(hand_over_rules()))
        case "status":
            return lifecycle.status()
        case "down":
            lifecycle.down()
    return os.EX_OK


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m deploy.cluster", description=__doc__, formatter_class=formatter)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("build").add_argument("part", nargs="*")
    bare = "only what runs pods, and of the rest what is built already"
    actions.add_parser("up").add_argument("--bare", action="store_true", help=bare)
    for name in ("rules", "_rules", "status", "down"):
        actions.add_parser(name)
    for name in ("load", "_load"):
        actions.add_parser(name).add_argument("file", type=Path)
    actions.add_parser("run").add_argument("command", nargs="+")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

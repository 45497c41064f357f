# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
r"""Adapt the model to a robot's environment with its own recordings, without labels.

    python training/adapt_from_bag.py robot.mcap
    python training/adapt_from_bag.py 'bag:drive_*/#/camera/image_raw' video:walk.mp4 --out adaptations/garage \
        --config my.yaml --set stage1.optimization.steps=1000 --set student.updates=12
    torchrun --nproc-per-node 4 training/adapt_from_bag.py robot.mcap

Run the same command again to resume after an interruption. The folder receives the adapted ``teacher.onnx`` with its
card, the verdict (``report.html``, ``report.json``), the decisions of the run and their reasons (``adaptation.json``),
loss curves (``tensorboard --logdir``) and a contact sheet of frames. ``--deploy`` loads an improved model into the
running node. Exit status: 0 improved, 3 no change, 4 worse, 5 improved but not deployed, 1 error, 130 interrupted.
torchrun treats any other status than 0 as a crash, so under it every verdict exits with 0: see ``report.json``.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from mdflow_ros.backends.backend import BackendError, BackendUnavailable
from mdflow_ros.core.argument_types import path_in_utf8
from mdflow_ros.deployment.deploy import deploy
from mdflow_ros.deployment.running_node import DEFAULT_NODE, NodeError, full_node_name
from mdflow_ros.deployment.store import ModelStore
from mdflow_ros.entry_points import INTERRUPTED
from mdflow_ros.model.card import BUNDLED_MODEL, ModelError
from mdflow_training.adaptation.from_recordings import CPU_CONFIG, adapt_from_recordings, default_config
from mdflow_training.adaptation.outcome import ADAPTED_NAME
from mdflow_training.engine.distributed import setup, teardown
from mdflow_training.judging.verdict import NOT_DEPLOYED, Verdict
from mdflow_training.report.report import Report
from mdflow_training.settings.adaptation import load_adaptation_config
from mdflow_training.settings.base import commented_yaml

VERDICT_STATUSES = [verdict.exit_status for verdict in Verdict]


def print_and_deploy(report: Report, out: Path, node: str | None = None, store: Path | None = None) -> int:
    """Print the verdict, deploy an improved teacher to ``store`` and ``node``, and return the exit status."""
    print(f"{report}\nsee {out / 'report.html'}", flush=True)
    if report.verdict is not Verdict.IMPROVED:
        if node is not None:
            print("not deployed: the old model stays")
        return report.verdict.exit_status
    print(f"the adapted teacher is {out / ADAPTED_NAME}", flush=True)
    if node is None or try_deploy(out / ADAPTED_NAME, node, store):
        return report.verdict.exit_status
    return NOT_DEPLOYED


def try_deploy(model: Path, node: str, store: Path | None) -> bool:
    """Deploy a model and return whether it worked; if not, print the reason and how to deploy it later."""
    try:
        print(deploy(model, ModelStore(store), node))
    except (ModelError, NodeError, OSError) as error:
        later = ["deploy_model", str(model), "--node", node, *(["--store", str(store)] if store else [])]
        print(f"error: not deployed: {error}\nto deploy it later: {shlex.join(later)}", file=sys.stderr)
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", help="bag:PATH#/topic, video:PATH, images:FOLDER, or a path; globs too")
    parser.add_argument(
        "--out", type=path_in_utf8, help="folder of the run (default: adaptations/NAME OF THE FIRST SOURCE)"
    )
    parser.add_argument(
        "--config", type=Path, help=f"YAML with the settings to change; without a GPU the default is {CPU_CONFIG.name}"
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one setting")
    parser.add_argument("--print-config", action="store_true", help="print every setting, its meaning and value; exit")
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL, help="model to start from (default: bundled)")
    parser.add_argument(
        "--ground-truth",
        "--truth",
        type=Path,
        help="ground truth for the report: folder of FIRST_SECOND.flo, named by the stamps in ns",
    )
    parser.add_argument("--deploy", action="store_true", help="load an improved model into the running node")
    parser.add_argument("--node", help=f"full name of that node (default: {DEFAULT_NODE})")
    parser.add_argument("--store", type=Path, help="folder of deployed models (default: the user's data folder)")
    options = parser.parse_args(arguments)
    if not options.deploy and (options.node or options.store):
        parser.error("--node and --store only apply to a deployment: add --deploy")
    if not options.sources and not options.print_config:
        parser.error("give a recording: a bag, a video, or a folder of images")
    out = options.out or Path("adaptations") / default_name((options.sources or ["run"])[0])
    try:
        node = full_node_name(options.node or DEFAULT_NODE) if options.deploy else None
        config = load_adaptation_config(options.config or default_config(), options.set)
        if options.print_config:
            print(commented_yaml(config), end="")
            return 0
        context = setup()
        try:
            report = adapt_from_recordings(options.sources, out, config, options.model, context, options.ground_truth)
        finally:
            teardown()
        status = 0 if report is None else print_and_deploy(report, out, node, options.store)
        return 0 if context.world_size > 1 and status in VERDICT_STATUSES else status
    except (ValueError, OSError, NodeError, BackendError, BackendUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ninterrupted; the same command resumes from {out}", file=sys.stderr)
        return INTERRUPTED


def default_name(source: str) -> str:
    """Return the name of a run from its recording: ``bag:/data/robot.mcap#/camera`` becomes ``robot``."""
    path = source.split("#")[0]
    kind, colon, rest = path.partition(":")
    path = rest if colon and kind in ("bag", "video", "images") else path
    stem = Path(path.rstrip("/")).name.split(".")[0]
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in stem) or "run"


if __name__ == "__main__":
    sys.exit(main())

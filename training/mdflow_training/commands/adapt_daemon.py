# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Adapt continually on the robot: record while it drives, adapt while it is idle, deploy, and check.

    python training/adapt_daemon.py --topics /camera/image_raw --workspace ~/mdflow --when on_ac_power

``--when`` is a command that exits with 0 while the robot is idle; it runs every few seconds. While the robot is busy,
the daemon records the topics. While it is idle, the daemon adapts the model to the recordings, and deploys the result
only if its report says `improved`. It compares a deployed model with its predecessor on the next recording, and rolls
it back if it is worse. An adaptation pauses while the robot is busy. Stop the daemon with Ctrl-C or SIGTERM; when
restarted, it continues where it stopped.

To use the deployed model after a restart, start the node with ``-p model:=WORKSPACE/models/current/teacher.onnx``.
"""

from __future__ import annotations

import argparse
import logging
import re
import shlex
import shutil
import sys
from pathlib import Path

from mdflow_ros.core.argument_types import at_least, path_in_utf8, positive
from mdflow_ros.core.folder_lock import folder_lock
from mdflow_ros.core.stop_signal import StopSignal
from mdflow_ros.deployment.running_node import DEFAULT_NODE, NodeError, full_node_name
from mdflow_ros.model.card import BUNDLED_MODEL
from mdflow_training.adaptation.from_recordings import default_config
from mdflow_training.continual.daemon import Daemon, Limits, Programs
from mdflow_training.continual.workspace import Workspace
from mdflow_training.networks.students import build_student
from mdflow_training.networks.teacher import load_teacher
from mdflow_training.settings.adaptation import load_adaptation_config

TOPIC = r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*"
"""Pattern of a topic's name that is the same for every node: unlike in ROS 2, `~` is not allowed."""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topics", nargs="+", required=True, help="image topics to record and to learn from")
    parser.add_argument("--workspace", type=path_in_utf8, required=True, help="folder for recordings, runs and models")
    parser.add_argument(
        "--when", required=True, metavar="COMMAND", help="command that exits with 0 while the robot is idle"
    )
    parser.add_argument("--node", default=DEFAULT_NODE, help="full name of the running node; default %(default)s")
    parser.add_argument("--config", type=Path, help="YAML with settings of adapt_from_bag")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one setting")
    parser.add_argument("--minutes", type=positive, default=10.0, help="longest recording; default %(default)s")
    parser.add_argument(
        "--gigabytes", type=positive, default=20.0, help="disk space for all recordings and runs; default %(default)s"
    )
    parser.add_argument("--hours", type=positive, default=4.0, help="longest adaptation; default %(default)s")
    parser.add_argument(
        "--threads", type=at_least(0), default=0, help="CPU threads of an adaptation; default: all cores"
    )
    return parser.parse_args(arguments)


def check_arguments(options: argparse.Namespace) -> tuple[str, list[str]]:
    """Check the arguments; return the full name of the node and the condition's command.

    Raises:
        ValueError: ``--when`` is not a command, a topic cannot exist, a setting cannot be used, or the student's
            weights cannot be loaded.
        NodeError: ROS 2 does not allow the node's name.
    """
    try:
        condition = shlex.split(options.when)
    except ValueError as error:
        raise ValueError(f"--when {options.when!r} is not a command: {error}") from error
    if not condition or shutil.which(condition[0]) is None:
        raise ValueError(f"--when {options.when!r} is not a command; try it in a shell, and give its full path")
    for topic in options.topics:
        if not re.fullmatch(TOPIC, topic):
            raise ValueError(f"no topic can be called '{topic}'; a full name is like /camera/image_raw")
    config = load_adaptation_config(options.config or default_config(), options.set)
    if config.rounds:
        build_student(config.student, load_teacher(BUNDLED_MODEL))  # fail now, not after the first drive
    return full_node_name(options.node), condition


def main(arguments: list[str] | None = None) -> int:
    """Run until stopped; return the exit status."""
    options = parse_arguments(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    limits = Limits(options.minutes * 60, options.gigabytes * 1e9, options.hours * 3600, options.threads)
    settings = ["--config", str(options.config)] if options.config else []
    settings += [part for setting in options.set for part in ("--set", setting)]
    programs = Programs(adapt=[*Programs.adapt, *settings])
    stop = StopSignal()
    try:
        node, condition = check_arguments(options)
        folder = options.workspace.expanduser()
        with folder_lock(folder):
            workspace = Workspace(folder)
            Daemon(workspace, options.topics, condition, programs, limits, node, lambda: stop.requested).run()
    except (ValueError, OSError, NodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

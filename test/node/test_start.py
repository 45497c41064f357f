# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever keeps a command from joining ROS is one line on stderr, for every command that joins it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

from node_harness import ENVIRONMENT, PATIENCE

from mdflow_ros.model.card import BUNDLED_MODEL

NODES = (
    "node.flow_node",
    *(f"navigation.nodes.{name}_node" for name in ("depth_from_motion", "flow_points", "flow_view")),
    *(f"navigation.nodes.{name}_node" for name in ("moving_objects", "px4_optical_flow", "time_to_contact")),
)
COMMANDS = {
    **dict.fromkeys(NODES, ()),
    "commands.record_bag": ("--topics", "/image"),
    "commands.deploy_model": (str(BUNDLED_MODEL), "--store", "store"),
    "demo.camera_player": ("clip.mp4",),
    "demo.flow_recorder": ("--output", "flow"),
}


def errors_of(folder: Path, module: str, *arguments: str, **environment: str) -> str:
    """Run a command that cannot start and return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", f"mdflow_ros.{module}", *arguments],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode not in (0, None) and "Traceback" not in done.stderr, done.stderr
    return done.stderr


@pytest.mark.parametrize("module", COMMANDS)
def test_a_log_folder_that_cannot_be_written(module: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    errors = errors_of(tmp_path, module, *COMMANDS[module], ROS_LOG_DIR=str(tmp_path / "file" / "log"))
    assert "set ROS_LOG_DIR to a folder that can be written" in errors


@pytest.mark.parametrize("module", NODES)
def test_an_argument_that_neither_ros_nor_the_node_knows(module: str, tmp_path: Path) -> None:
    assert "unrecognized arguments: --topic" in errors_of(tmp_path, module, "--topic")


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("node.flow_node", ["-p", "max_rate"], "Couldn't parse parameter override rule"),
        ("commands.record_bag", ["-r", "image:="], "Couldn't parse remap rule"),
        (
            "navigation.nodes.flow_view_node",
            ["-p", "qos_overrides./mdflow/flow/image_color.publisher.reliability:=often"],
            "Unexpected QoS override for policy `reliability`",
        ),
    ],
)
def test_arguments_that_ros_refuses(module: str, arguments: list[str], message: str, tmp_path: Path) -> None:
    errors = errors_of(tmp_path, module, *COMMANDS[module], "--ros-args", *arguments)
    assert errors.startswith("error: ") and message in errors


def test_a_misspelled_parameter_is_named(tmp_path: Path) -> None:
    arguments = ("--topics", "/image", "--wait", "0.1", "--ros-args", "-p", "use_sm_time:=true")
    errors = errors_of(tmp_path, "commands.record_bag", *arguments, ROS_DOMAIN_ID="28")
    assert "ignored the parameter 'use_sm_time', which this node does not have; did you mean 'use_sim_time'?" in errors

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever keeps a command from joining ROS is one line on stderr, for every command that joins it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

from node_harness import ENVIRONMENT
from places import ROOT
from process_helpers import run

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


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def errors_of(module: str, *arguments: str, **environment: str) -> str:
    """Run a command that cannot start and return what it says."""
    status, errors = run({**ENVIRONMENT, **environment}, f"mdflow_ros.{module}", *arguments)
    assert status in (1, 2) and "Traceback" not in errors, errors
    return errors


@pytest.mark.parametrize("module", COMMANDS)
def test_a_log_folder_that_cannot_be_written(module: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    errors = errors_of(module, *COMMANDS[module], ROS_LOG_DIR=str(tmp_path / "file" / "log"))
    assert "set ROS_LOG_DIR to a folder that can be written" in errors


def test_where_neither_home_nor_a_log_folder_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "ROS_HOME", "ROS_LOG_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert "set ROS_LOG_DIR to a folder that can be written" in errors_of("node.flow_node")


@pytest.mark.parametrize("module", NODES)
def test_an_argument_that_neither_ros_nor_the_node_knows(module: str) -> None:
    assert "unrecognized arguments: --topic" in errors_of(module, "--topic")


def test_an_argument_after_ros_args_that_ros_does_not_know() -> None:
    errors = errors_of("node.flow_node", "--ros-args", "quality:=fast")
    assert "error: after --ros-args, ROS does not know 'quality:=fast'" in errors and "-p NAME:=VALUE" in errors


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
def test_arguments_that_ros_refuses(module: str, arguments: list[str], message: str) -> None:
    errors = errors_of(module, *COMMANDS[module], "--ros-args", *arguments)
    assert errors.startswith("error: ") and message in errors


def test_a_misspelled_parameter_is_named_and_the_flow_node_s_file_may_be_given_to_all() -> None:
    arguments = ("--topics", "/image", "--wait", "0.1", "--ros-args", "-p", "use_sm_time:=true")
    arguments += ("--params-file", str(ROOT / "config" / "flow.yaml"))
    errors = errors_of("commands.record_bag", *arguments, ROS_DOMAIN_ID="28")
    assert "ignored the parameter 'use_sm_time', which this node does not have; did you mean 'use_sim_time'?" in errors
    assert errors.count("ignored the parameter") == 1


def test_a_parameter_of_the_flow_node_that_is_given_to_another_one_by_name_is_reported() -> None:
    arguments = ("--topics", "/image", "--wait", "0.1", "--ros-args", "-p", "rectify:=true")
    errors = errors_of("commands.record_bag", *arguments, ROS_DOMAIN_ID="28")
    assert "ignored the parameter 'rectify', which this node does not have" in errors

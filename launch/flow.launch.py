# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Launch the flow node on a camera: ``ros2 launch mdflow_ros flow.launch.py image_topic:=/camera/image_raw``."""

import difflib
import os
import sys
from itertools import pairwise
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from mdflow_ros.entry_points import CONSUMERS
from mdflow_ros.node.transport import BUILTIN_TRANSPORTS, large_data, large_data_advice

ARGUMENTS = {
    "image_topic": ("image", "Topic of the camera's sensor_msgs/Image."),
    "camera_info_topic": ("", "Topic of the camera's CameraInfo; empty for the one next to the image topic."),
    "image_transport": ("", "raw or compressed; empty keeps the value from params_file."),
    "namespace": ("", "Namespace of the node; its topics become <namespace>/mdflow/flow and so on."),
    "params_file": (
        PathJoinSubstitution([FindPackageShare("mdflow_ros"), "config", "flow.yaml"]),
        "YAML file with the parameters of the node.",
    ),
    "model": ("", "ONNX file of the model, with its card beside it; empty keeps the value from params_file."),
    "backend": ("", "Engine that runs the model, such as auto; empty keeps the value from params_file."),
    "autostart": ("", "Whether the node configures and activates itself; empty keeps the value from params_file."),
    "use_sim_time": (
        "",
        "Whether to use the time on /clock, for a bag that is played with --clock; empty keeps the value from "
        "params_file.",
    ),
    "log_level": ("info", "Lowest severity that is logged: debug, info, warn, error or fatal."),
    "consumers": (
        "[]",
        "Consumers to start, such as [depth_from_motion, moving_objects]: docs/navigation/README.md.",
    ),
    "consumers_params_file": (
        PathJoinSubstitution([FindPackageShare("mdflow_ros"), "config", "navigation.yaml"]),
        "YAML file with the parameters of the consumers.",
    ),
    "imu_topic": ("imu", "Topic of a sensor_msgs/Imu in the robot's axes, for px4_optical_flow."),
    "range_topic": ("range", "Topic of a sensor_msgs/Range to the ground, for px4_optical_flow."),
    "odom_topic": ("odom", "Topic of the robot's nav_msgs/Odometry, for consumers with motion_from: odometry."),
    "large_data": (
        "false",
        "Whether to give the node the LARGE_DATA transport of Fast DDS. Processes with another transport then neither "
        f"see the node nor receive from it, so {large_data_advice(os.environ)}.",
    ),
}

CHOICES = {
    "image_transport": ("", "raw", "compressed"),
    "backend": ("", "auto", "tensorrt", "onnxruntime", "onnxruntime-cuda", "openvino"),
    "log_level": ("debug", "info", "warn", "error", "fatal"),
}
"""Allowed values of some arguments. Literals, because launch may run in a Python without the node's packages."""


def perform(context: LaunchContext) -> dict[str, str]:
    """Return the values of all arguments.

    Raises:
        FileNotFoundError: a parameter file does not exist; launch_ros would only warn.
        ValueError: an argument has a value that is not one of its choices.
    """
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    for name in ("params_file", "consumers_params_file"):
        values[name] = os.path.expanduser(values[name])  # shells leave ~ after := as it is
        if not Path(values[name]).is_file():
            raise FileNotFoundError(f"{name}: there is no file {values[name]}")
    values["log_level"] = values["log_level"].lower()
    for name, choices in CHOICES.items():
        if values[name] not in choices:
            raise ValueError(f"{name} must be one of {', '.join(filter(None, choices))}, not '{values[name]}'")
    return values


def check_names(command_line: list[str]) -> None:
    """Refuse unknown arguments, which ros2 launch ignores.

    If another launch file includes this one, nothing is checked, because the command line holds that file's arguments.

    Raises:
        ValueError: an argument is unknown.
    """
    if ("mdflow_ros", "flow.launch.py") not in pairwise(command_line):
        return
    for name in (word.partition(":=")[0] for word in command_line if ":=" in word):
        if name not in ARGUMENTS:
            hint = "".join(f"; did you mean '{close}'?" for close in difflib.get_close_matches(name, ARGUMENTS, 1))
            raise ValueError(f"flow.launch.py has no argument '{name}'{hint}")


def is_true(values: dict[str, str], name: str) -> bool:
    """Return an argument that is true or false.

    Raises:
        ValueError: it is neither.
    """
    truth = {"true": True, "1": True, "false": False, "0": False}.get(values[name].lower())
    if truth is None:
        raise ValueError(f"{name} must be true or false, not '{values[name]}'")
    return truth


def nodes(context: LaunchContext) -> list[Node]:
    """Create all nodes in one step, so that a wrong argument is reported before any process starts."""
    check_names(sys.argv)
    values = perform(context)
    return [flow_node(values), *consumer_nodes(values)]


def flow_node(values: dict[str, str]) -> Node:
    """Create the flow node; an empty launch argument keeps the value from params_file."""
    overrides: dict[str, str | bool] = {
        name: values[name] for name in ("model", "backend", "image_transport") if values[name]
    }
    overrides |= {name: is_true(values, name) for name in ("autostart", "use_sim_time") if values[name]}
    return Node(
        package="mdflow_ros",
        executable="flow_node",
        name="mdflow",
        namespace=values["namespace"],
        parameters=[values["params_file"], *([overrides] if overrides else [])],
        remappings=remappings(values, "image", "camera_info"),
        arguments=["--ros-args", "--log-level", values["log_level"]],
        output="screen",
        emulate_tty=True,
    )


def remappings(values: dict[str, str], *names: str) -> list[tuple[str, str]]:
    """Return the remappings of topics whose argument is not empty."""
    return [(name, topic) for name in names if (topic := values[f"{name}_topic"])]


def consumer_nodes(values: dict[str, str]) -> list[Node]:
    """Create the consumers that the argument names."""
    words = (word.strip(" '\"") for word in values["consumers"].strip("[] ").split(","))
    names = list(dict.fromkeys(filter(None, words)))
    unknown = [name for name in names if name not in CONSUMERS]
    if unknown:
        raise ValueError(f"unknown consumer '{unknown[0]}'; choose from {', '.join(CONSUMERS)}")
    overrides = [{"use_sim_time": is_true(values, "use_sim_time")}] if values["use_sim_time"] else []
    return [
        Node(
            package="mdflow_ros",
            executable=name,
            name=name,
            namespace=values["namespace"],
            parameters=[values["params_file"], values["consumers_params_file"], *overrides],
            remappings=remappings(values, "image", "odom", "imu", "range"),
            arguments=["--ros-args", "--log-level", values["log_level"]],
            output="screen",
            emulate_tty=True,
        )
        for name in names
    ]


def generate_launch_description() -> LaunchDescription:
    """Describe the launch."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    transport = SetEnvironmentVariable(
        BUILTIN_TRANSPORTS, large_data(os.environ), condition=IfCondition(LaunchConfiguration("large_data"))
    )
    return LaunchDescription([*arguments, transport, OpaqueFunction(function=nodes)])

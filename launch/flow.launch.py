# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Launch the flow node on a camera: ``ros2 launch mdflow_ros flow.launch.py image_topic:=/camera/image_raw``."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

CONSUMERS = ("depth_from_motion", "moving_objects", "time_to_contact", "px4_optical_flow", "flow_points")

ARGUMENTS = {
    "image_topic": ("image", "Topic of the camera's sensor_msgs/Image."),
    "camera_info_topic": ("camera_info", "Topic of the camera's CameraInfo; may have no publisher."),
    "namespace": ("", "Namespace of the node; its topics become <namespace>/mdflow/flow and so on."),
    "params_file": (
        PathJoinSubstitution([FindPackageShare("mdflow_ros"), "config", "flow.yaml"]),
        "YAML file with the node's parameters.",
    ),
    "model": ("", "ONNX file of the model, its card beside it; empty for what params_file says."),
    "backend": ("", "Engine that runs the model, auto or one of the README's; empty for what params_file says."),
    "autostart": ("true", "Whether the node configures and activates itself."),
    "log_level": ("info", "Least severity that is logged: debug, info, warn, error or fatal."),
    "consumers": (
        "[]",
        "Consumers to start beside the flow node, as [depth_from_motion, moving_objects]: docs/navigation/README.md.",
    ),
    "consumers_params_file": (
        PathJoinSubstitution([FindPackageShare("mdflow_ros"), "config", "navigation.yaml"]),
        "YAML file with the consumers' parameters.",
    ),
    "odom_topic": ("odom", "Topic of the robot's nav_msgs/Odometry, for consumers with motion_from: odometry."),
    "large_data": (
        "true",
        "Whether to give the node Fast DDS' LARGE_DATA transport, without which big images get lost. Camera and "
        "consumers need the same: export FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA, unset ROS_AUTOMATIC_DISCOVERY_RANGE.",
    ),
}


def flow_node(context: LaunchContext) -> list[Node]:
    """Make the node; arguments that were left empty leave the parameter file its say."""
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    overrides = {name: values[name] for name in ("model", "backend") if values[name]}
    return [
        Node(
            package="mdflow_ros",
            executable="flow_node",
            name="mdflow",
            namespace=values["namespace"],
            parameters=[values["params_file"], {**overrides, "autostart": values["autostart"].lower() == "true"}],
            remappings=[("image", values["image_topic"]), ("camera_info", values["camera_info_topic"])],
            arguments=["--ros-args", "--log-level", values["log_level"]],
            output="screen",
            emulate_tty=True,
        )
    ]


def consumer_nodes(context: LaunchContext) -> list[Node]:
    """Create the consumers that the argument names."""
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    wanted = [name.strip() for name in values["consumers"].strip("[] ").split(",") if name.strip()]
    unknown = [name for name in wanted if name not in CONSUMERS]
    if unknown:
        raise ValueError(f"unknown consumer '{unknown[0]}'; choose of {', '.join(CONSUMERS)}")
    return [
        Node(
            package="mdflow_ros",
            executable=name,
            name=name,
            namespace=values["namespace"],
            parameters=[values["params_file"], values["consumers_params_file"]],
            remappings=[("odom", values["odom_topic"])],
            arguments=["--ros-args", "--log-level", values["log_level"]],
            output="screen",
            emulate_tty=True,
        )
        for name in wanted
    ]


def generate_launch_description() -> LaunchDescription:
    """Describe the launch."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    large_data = SetEnvironmentVariable(
        "FASTDDS_BUILTIN_TRANSPORTS",
        "LARGE_DATA?max_msg_size=4MB&sockets_size=4MB",
        condition=IfCondition(LaunchConfiguration("large_data")),
    )
    actions = [OpaqueFunction(function=flow_node), OpaqueFunction(function=consumer_nodes)]
    return LaunchDescription([*arguments, large_data, *actions])

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""`ros2 launch mdflow_ros flow.launch.py`, where launch_ros and a colcon build are."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

from node_harness import ENVIRONMENT, PATIENCE, client
from places import ROOT
from sensor_msgs.msg import Image
from shifted_images import textured_image

from mdflow_ros.node.parameter_docs import LAUNCHED, parameter_file, table
from mdflow_ros.node.parameters import DECLARATIONS

DOMAIN = 24


def test_parameter_file_and_table_are_current() -> None:
    assert (ROOT / "config" / "flow.yaml").read_text() == parameter_file()
    assert (ROOT / "docs" / "parameters.md").read_text() == table()
    parameters = yaml.safe_load(parameter_file())["/**"]["ros__parameters"]
    assert parameters == {name: d.default for name, d in DECLARATIONS.items() if name not in LAUNCHED}


def test_launch_brings_the_node_up_on_the_given_topic() -> None:
    pytest.importorskip("launch_ros", reason="needs launch_ros, which apt's ROS 2 has")
    packages = pytest.importorskip("ament_index_python.packages")
    try:
        packages.get_package_prefix("mdflow_ros")
    except packages.PackageNotFoundError:
        pytest.skip("mdflow_ros is not built by colcon, or its setup.bash is not sourced")
    arguments = ["image_topic:=/robot/image", "camera_info_topic:=/robot/camera_info", "backend:=onnxruntime"]
    process = subprocess.Popen(
        ["ros2", "launch", "mdflow_ros", "flow.launch.py", *arguments],
        env={**os.environ, **ENVIRONMENT, "ROS_DOMAIN_ID": str(DOMAIN)},
        start_new_session=True,
    )
    try:
        with client(DOMAIN, namespace="") as camera:
            camera.image = camera.node.create_publisher(Image, "/robot/image", 10)
            camera.wait_until_listening()
            for stamp in range(1000, 6000, 100):
                camera.publish(textured_image(128, 192), stamp)
                if camera.received["flow"]:
                    break
            assert camera.received["flow"]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0

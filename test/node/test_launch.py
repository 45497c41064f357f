# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The launch file's processes, started as launch would start them beside participants with default settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

from launch_stand_in import LaunchedProcess, processes_of
from node_harness import PATIENCE, Client
from places import ROOT
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from shifted_images import textured_image

from mdflow_ros.entry_points import CONSUMERS
from mdflow_ros.node.parameter_docs import LAUNCHED, consumer_tables, parameter_file, table
from mdflow_ros.node.parameters import DECLARATIONS

DOMAIN = 24
LAUNCH_FILE = ROOT / "launch" / "flow.launch.py"


def launched(**arguments: str) -> list[LaunchedProcess]:
    return processes_of(LAUNCH_FILE, ROOT, **arguments)


@contextmanager
def running(process: LaunchedProcess) -> Iterator[None]:
    """Run a launched process on top of a default environment, and end it by Ctrl-C."""
    default = {k: v for k, v in os.environ.items() if k not in ("FASTDDS_BUILTIN_TRANSPORTS",)}
    environment = {**default, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": str(DOMAIN)}
    command = [sys.executable, "-m", f"mdflow_ros.node.{process.executable}", *process.arguments]
    node = subprocess.Popen(command, env={**environment, **process.environment})
    try:
        yield
    finally:
        node.send_signal(signal.SIGINT)
        assert node.wait(PATIENCE) == 0


@pytest.fixture
def default_camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A camera and consumer with the default transport."""
    monkeypatch.delenv("FASTDDS_BUILTIN_TRANSPORTS", raising=False)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    camera = Client(DOMAIN, environment={})
    try:
        yield camera
    finally:
        camera.close()


def test_parameter_file_and_table_are_current() -> None:
    assert (ROOT / "config" / "flow.yaml").read_text() == parameter_file()
    assert (ROOT / "docs" / "parameters.md").read_text() == table()
    assert (ROOT / "docs" / "navigation" / "parameters.md").read_text() == consumer_tables()
    nodes = (ROOT / "mdflow_ros" / "navigation" / "nodes").glob("*_node.py")
    assert set(CONSUMERS) == {path.stem.removesuffix("_node") for path in nodes}
    parameters = yaml.safe_load(parameter_file())["/**"]["ros__parameters"]
    assert parameters == {name: d.default for name, d in DECLARATIONS.items() if name not in LAUNCHED}


def test_a_default_participant_sees_the_node_and_gets_flow(default_camera: Client) -> None:
    """The quick start: nothing is exported, so the node must use the default transport, too."""
    camera = default_camera
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
    camera.image = camera.node.create_publisher(Image, "/robot/image", qos)
    (process,) = launched(image_topic="/robot/image", camera_info_topic="/robot/camera_info", backend="onnxruntime")
    with running(process):
        camera.wait_until_listening()
        assert "mdflow" in camera.node.get_node_names()
        for stamp in range(1000, 6000, 100):
            camera.publish(textured_image(480, 640), stamp)
            if len(camera.received["flow"]) >= 2:
                break
        assert len(camera.received["flow"]) >= 2
        assert camera.latest_diagnostics()["backend"] == "onnxruntime"


def test_arguments_reach_the_node() -> None:
    (process,) = launched(namespace="left", image_transport="compressed", use_sim_time="true", autostart="false")
    assert process.environment == {}
    assert process.arguments[-2:] == ["-r", "image:=image"]
    assert "__ns:=/left" in process.arguments
    files = [process.arguments[i + 1] for i, word in enumerate(process.arguments) if word == "--params-file"]
    assert files[0] == str(ROOT / "config" / "flow.yaml")
    with open(files[1]) as file:
        parameters = yaml.safe_load(file)["/**"]["ros__parameters"]
    assert parameters == {"image_transport": "compressed", "use_sim_time": True, "autostart": False}


def test_what_the_launch_is_not_told_stays_as_the_parameter_file_says() -> None:
    for process in launched(consumers="[flow_points]"):
        files = [process.arguments[i + 1] for i, word in enumerate(process.arguments) if word == "--params-file"]
        assert all(Path(file).parent == ROOT / "config" for file in files)


def test_topics_are_remapped() -> None:
    topics = {
        "camera_info_topic": "/left/info",
        "imu_topic": "/imu/data",
        "range_topic": "/sonar",
        "odom_topic": "/odom",
    }
    flow, consumer = launched(image_topic="/left/image_raw", consumers="[px4_optical_flow]", **topics)
    assert flow.arguments[-4:] == ["-r", "image:=/left/image_raw", "-r", "camera_info:=/left/info"]
    assert [word for word in consumer.arguments if ":=" in word][-4:] == [
        "image:=/left/image_raw",
        "odom:=/odom",
        "imu:=/imu/data",
        "range:=/sonar",
    ]


def test_large_data_is_set_on_request() -> None:
    (process,) = launched(large_data="true")
    assert process.environment == {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA?sockets_size=16MB"}


def test_a_missing_parameter_file_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"/nowhere/flow\.yaml"):
        launched(params_file="/nowhere/flow.yaml")


def test_a_parameter_file_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "flow.yaml").write_text("/**: {ros__parameters: {max_rate: 10.0}}")
    (process,) = launched(params_file="~/flow.yaml")
    assert str(tmp_path / "flow.yaml") in process.arguments


@pytest.mark.parametrize(
    ("name", "value"), [("backend", "gpu"), ("image_transport", "compresed"), ("log_level", "warning")]
)
def test_a_value_that_is_no_choice_is_an_error(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be one of [a-z]+, .*, not '{value}'"):
        launched(**{name: value})


@pytest.mark.parametrize("name", ["backend", "image_transport"])
def test_the_launch_file_knows_every_choice_of_the_node(name: str) -> None:
    for choice in DECLARATIONS[name].choices or ():
        launched(**{name: choice})
    launched(log_level="DEBUG")


def test_an_argument_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "mdflow_ros", "flow.launch.py", "image_topics:=/left/image"])
    with pytest.raises(ValueError, match=r"no argument 'image_topics'; did you mean 'image_topic'\?"):
        launched()
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "robot", "flow.launch.py", "image_topics:=/left/image"])
    assert launched(), "these are the arguments of the file that includes this one"


def test_an_unknown_consumer_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown consumer 'teleport'"):
        launched(consumers="[teleport]")


def test_what_is_neither_true_nor_false_is_an_error() -> None:
    with pytest.raises(ValueError, match="use_sim_time must be true or false, not 'yes'"):
        launched(use_sim_time="yes")


@pytest.mark.parametrize("consumers", ["[flow_points, flow_points]", "flow_points", "['flow_points']"])
def test_consumers_are_started_beside_the_node(consumers: str) -> None:
    flow, consumer = launched(consumers=consumers)  # a name said twice is one node
    assert (flow.executable, consumer.executable) == ("flow_node", "flow_points")


def test_ros2_launch_brings_the_node_up() -> None:
    pytest.importorskip("launch_ros", reason="needs launch_ros, which apt's ROS 2 has")
    packages = pytest.importorskip("ament_index_python.packages")
    try:
        packages.get_package_prefix("mdflow_ros")
    except packages.PackageNotFoundError:
        pytest.skip("mdflow_ros is not built by colcon, or its setup.bash is not sourced")
    arguments = ["image_topic:=/robot/image", "image_transport:=compressed", "backend:=onnxruntime"]
    process = subprocess.Popen(
        ["ros2", "launch", "mdflow_ros", "flow.launch.py", *arguments],
        env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN)},
        start_new_session=True,
    )
    try:
        camera = Client(DOMAIN, environment={})
        publisher = camera.node.create_publisher(CompressedImage, "/robot/image/compressed", 5)
        camera.spin_until(publisher.get_subscription_count, "the node to subscribe to the camera")
        camera.close()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0

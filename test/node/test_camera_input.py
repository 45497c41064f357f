# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The subscriptions follow what the camera offers, whatever it was before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

import rclpy
from node_harness import ENVIRONMENT
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mdflow_ros.node.camera_input import CameraInput

DOMAIN = 73
RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT


class Robot:
    """A context for a camera input, and an executor that spins it."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.images: list[Image | CompressedImage] = []

    def make_node(self, name: str, **overrides: str) -> Node:
        parameters = [Parameter(key.replace("__", "."), value=value) for key, value in overrides.items()]
        node = rclpy.create_node(name, context=self.context, parameter_overrides=parameters)
        self.executor.add_node(node)
        return node

    def wait(self, condition: Callable[[], object], then: Callable[[], object] = lambda: None) -> None:
        """Spin, calling ``then`` now and then, until the condition holds."""
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, "nothing came"
            then()
            self.executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        self.executor.shutdown()
        for node in self.executor.get_nodes():
            node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Robot]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    robot = Robot()
    yield robot
    robot.close()


def hear(
    robot: Robot, camera_input: CameraInput, message_type: type, reliability: ReliabilityPolicy = RELIABLE
) -> None:
    """Start a camera, wait until its images are heard as it offers them, and end it."""
    context = rclpy.Context()  # as another process has: within one, a topic has one type
    rclpy.init(context=context, domain_id=DOMAIN)
    camera = rclpy.create_node("camera", context=context)
    publisher = camera.create_publisher(message_type, "image", QoSProfile(depth=5, reliability=reliability))

    def send() -> None:
        camera_input.refresh()
        publisher.publish(message_type())

    robot.images.clear()
    robot.wait(lambda: any(isinstance(image, message_type) for image in robot.images), send)
    robot.wait(lambda: camera_input.image.is_reliable == (reliability == RELIABLE), send)
    camera.destroy_node()
    context.try_shutdown()
    robot.wait(lambda: not camera_input.image.publishers())


@pytest.mark.parametrize("order", [(RELIABLE, BEST_EFFORT), (BEST_EFFORT, RELIABLE)])
def test_a_camera_that_comes_back_with_another_qos_is_heard(
    robot: Robot, order: tuple[ReliabilityPolicy, ReliabilityPolicy]
) -> None:
    camera_input = CameraInput(robot.make_node("mdflow"), robot.images.append)
    for reliability in order:
        hear(robot, camera_input, Image, reliability)


def test_a_topic_that_carries_another_type_now_is_heard(robot: Robot) -> None:
    camera_input = CameraInput(robot.make_node("mdflow"), robot.images.append)
    for message_type in (Image, CompressedImage):
        hear(robot, camera_input, message_type)


@pytest.mark.parametrize(
    ("remappings", "expected"),
    [
        ([], "/robot/camera_info"),
        (["image:=/camera/image_raw"], "/camera/camera_info"),
        (["image:=left/image_raw"], "/robot/left/camera_info"),
        (["image:=/camera/image_raw", "camera_info:=/calibration"], "/calibration"),
    ],
)
def test_the_camera_info_beside_the_image_is_taken(robot: Robot, remappings: list[str], expected: str) -> None:
    arguments = ["--ros-args", *(part for remapping in remappings for part in ("-r", remapping))]
    node = rclpy.create_node("flow", context=robot.context, namespace="robot", cli_args=arguments)
    assert CameraInput(node, robot.images.append)._infos.topic == expected
    node.destroy_node()


@pytest.mark.parametrize("compressed", [False, True])
def test_the_other_transport_is_named_where_it_alone_is_published(robot: Robot, compressed: bool) -> None:
    published = "image" if compressed else "image/compressed"
    message_type = Image if compressed else CompressedImage
    robot.make_node("camera").create_publisher(message_type, published, 5)
    camera_input = CameraInput(robot.make_node("mdflow"), robot.images.append)
    camera_input.choose(compressed)
    robot.wait(
        lambda: f"set image_transport to {'raw' if compressed else 'compressed'}" in camera_input.explain_silence(5)
    )


def test_a_latched_camera_info_from_before_is_heard(robot: Robot) -> None:
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    robot.make_node("camera").create_publisher(CameraInfo, "camera_info", latched).publish(CameraInfo(width=640))
    camera_input = CameraInput(robot.make_node("mdflow"), robot.images.append)
    robot.wait(lambda: camera_input.camera_info, camera_input.refresh)
    assert camera_input.camera_info is not None and camera_input.camera_info.width == 640


def test_a_wrong_override_is_named_at_the_start(robot: Robot) -> None:
    node = robot.make_node("mdflow", **{"qos_overrides./image.subscription.reliability": "certain"})
    with pytest.raises(ValueError, match="reliability must be one of auto, reliable, best_effort, not 'certain'"):
        CameraInput(node, robot.images.append)


def test_a_complaint_about_qos_ends_with_its_cause(robot: Robot) -> None:
    strict = robot.make_node("mdflow", **{"qos_overrides./image.subscription.reliability": "reliable"})
    camera_input = CameraInput(strict, robot.images.append)
    camera = robot.make_node("camera")
    best_effort = camera.create_publisher(Image, "image", QoSProfile(depth=5, reliability=BEST_EFFORT))
    robot.wait(
        lambda: "offer an incompatible reliability policy" in camera_input.explain_silence(5), camera_input.refresh
    )
    camera.destroy_publisher(best_effort)
    camera.create_publisher(Image, "image", 5)
    robot.wait(lambda: "is it sending?" in camera_input.explain_silence(5), camera_input.refresh)


def test_lost_messages_are_added_up_over_subscriptions(robot: Robot) -> None:
    camera_input = CameraInput(robot.make_node("mdflow"), robot.images.append)
    for total, change in ((40, 40), (2, 2), (5, 3)):  # a new subscription counts from 0
        camera_input.image._on_message_lost(SimpleNamespace(total_count=total, total_count_change=change))
    assert camera_input.image.messages_lost == 45

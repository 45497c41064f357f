# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The consumers over the real rclpy and DDS, fed with exact flow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

import rclpy
import yaml
from geometry_msgs.msg import TwistWithCovarianceStamped
from nav_msgs.msg import Odometry
from node_harness import ENVIRONMENT, PATIENCE
from places import ROOT
from process_helpers import run
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, TimeReference
from std_msgs.msg import Bool, Float32, Header

from mdflow_ros.core.flow_color import flow_to_color
from mdflow_ros.navigation.nodes.consumer import INPUTS
from mdflow_ros.navigation.nodes.depth_from_motion_node import DepthFromMotionNode
from mdflow_ros.navigation.nodes.flow_points_node import FlowPointsNode
from mdflow_ros.navigation.nodes.flow_view_node import FlowViewNode
from mdflow_ros.navigation.nodes.moving_objects_node import MovingObjectsNode
from mdflow_ros.navigation.nodes.px4_optical_flow_node import Px4OpticalFlowNode
from mdflow_ros.navigation.nodes.synchronizer import ExactSynchronizer
from mdflow_ros.navigation.nodes.time_to_contact_node import TimeToContactNode
from mdflow_ros.node.messages import image_message
from mdflow_ros.node.parameters import validate_parameters
from mdflow_ros.node.start import node_parser
from mdflow_training.synthetic.navigation_world import Step, approach_step, crossing_step, downward_step, hall_step

DOMAIN = 27
NODES = {
    "depth_from_motion": DepthFromMotionNode,
    "moving_objects": MovingObjectsNode,
    "time_to_contact": TimeToContactNode,
    "px4_optical_flow": Px4OpticalFlowNode,
    "flow_points": FlowPointsNode,
    "flow_view": FlowViewNode,
}


@contextmanager
def running(name: str, *parameters: str) -> Iterator[subprocess.Popen[str]]:
    """Run a consumer as a separate process and end it by Ctrl-C; it must exit cleanly."""
    module = f"mdflow_ros.navigation.nodes.{name}_node"
    arguments = [part for parameter in parameters for part in ("-p", parameter)]
    process = subprocess.Popen(
        [sys.executable, "-m", module, *(["--ros-args", *arguments] if arguments else [])],
        env={**os.environ, **ENVIRONMENT, "ROS_DOMAIN_ID": str(DOMAIN)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors, errors


class FlowNodeStandIn:
    """Publishes what the flow node would, and collects what a consumer answers."""

    def __init__(self) -> None:
        os.environ.update(ENVIRONMENT)
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node("stand_in", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.outputs = {name: self.node.create_publisher(kind, f"mdflow/{name}", 5) for name, kind in INPUTS.items()}
        self.odometry = self.node.create_publisher(Odometry, "odom", 10)
        self.received: dict[str, list[Any]] = {}

    def listen(self, message_type: type[Any], topic: str) -> list[Any]:
        self.received[topic] = []
        self.node.create_subscription(message_type, topic, self.received[topic].append, 10)
        return self.received[topic]

    def spin_until(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"waited for {what}"
            self.executor.spin_once(timeout_sec=0.05)

    def spin_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)

    def publish(
        self,
        step: Step,
        newer: float,
        interval: float = 0.1,
        distortion: Sequence[float] = (0.0,) * 5,
        direction: str = "forward",
    ) -> Header:
        """Publish a step whose newer image is stamped ``newer`` seconds, when the consumer listens."""
        self.spin_until(self.outputs["flow"].get_subscription_count, "the consumer to subscribe")
        self.spin_for(0.3)
        header = Header(frame_id="camera")
        header.stamp.sec, header.stamp.nanosec = divmod(round(newer * 1e9), 10**9)
        height, width = step.depth.shape
        info = CameraInfo(header=header, width=width, height=height, distortion_model="plumb_bob", d=distortion)
        info.k[:] = step.intrinsics.ravel()
        previous = TimeReference(header=header, source=direction)
        previous.time_ref.sec, previous.time_ref.nanosec = divmod(round((newer - interval) * 1e9), 10**9)
        self.outputs["camera_info"].publish(info)
        self.outputs["previous_stamp"].publish(previous)
        self.outputs["confidence"].publish(image_message(header, np.full(step.depth.shape, 0.95, np.float32)))
        self.outputs["flow"].publish(image_message(header, step.flow))
        return header

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def flow_node() -> Iterator[FlowNodeStandIn]:
    instance = FlowNodeStandIn()
    try:
        yield instance
    finally:
        instance.close()


def cloud(message: PointCloud2) -> np.ndarray:
    return np.frombuffer(bytes(message.data), np.float32).reshape(message.width, len(message.fields))


@pytest.mark.parametrize("use_sim_time", ["false", "true"])  # nobody publishes /clock
def test_depth_from_odometry(flow_node: FlowNodeStandIn, use_sim_time: str) -> None:
    step = hall_step(10)
    pose = "camera_pose:=[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]"
    with running("depth_from_motion", "motion_from:=odometry", pose, f"use_sim_time:={use_sim_time}"):
        points = flow_node.listen(PointCloud2, "depth_from_motion/points")
        image = flow_node.listen(Image, "depth_from_motion/image")
        info = flow_node.listen(CameraInfo, "depth_from_motion/camera_info")
        flow_node.spin_until(flow_node.odometry.get_subscription_count, "odometry's subscription")
        header = flow_node.publish(step, 10.0)
        flow_node.spin_for(0.3)
        assert not points  # the motion is not known yet
        # The camera is the odometry's child frame: the older pose is the origin, the newer one its inverse motion.
        for stamp, rotation, position in (
            (9.9, np.eye(3), np.zeros(3)),
            (10.0, step.rotation.T, -step.rotation.T @ step.translation),
        ):
            flow_node.odometry.publish(odometry(stamp, rotation, position))
        flow_node.spin_until(lambda: points and image and info, "depth")
    assert points[0].header == image[0].header == info[0].header == header
    assert [field.name for field in points[0].fields] == ["x", "y", "z", "confidence", "sigma_z"]
    x, y, z, _, sigma = cloud(points[0]).T
    assert len(z) > 0.3 * 128 * 160 and (sigma < 0.2 * z).all()
    column, row = (np.rint(v / z * 224 + c).astype(int) for v, c in ((x, 159.5), (y, 127.5)))
    inside = (column >= 0) & (column < 320) & (row >= 0) & (row < 256)
    error = np.abs(z / step.newer_depth[row.clip(0, 255), column.clip(0, 319)] - 1)[inside]
    assert np.median(error) < 0.02
    depth = np.frombuffer(bytes(image[0].data), np.float32).reshape(image[0].height, image[0].width)
    assert depth.shape == (info[0].height, info[0].width) == (128, 160) and info[0].k[0] == 112
    known = np.isfinite(depth)
    assert np.median(np.abs(depth / step.newer_depth[::2, ::2] - 1)[known]) < 0.02


def odometry(stamp: float, rotation: np.ndarray, position: np.ndarray) -> Odometry:
    message = Odometry()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(round(stamp * 1e9), 10**9)
    # Small rotations: w from the trace.
    w = np.sqrt(1 + np.trace(rotation)) / 2
    turned, place = message.pose.pose.orientation, message.pose.pose.position
    turned.w = float(w)
    turned.x = float((rotation[2, 1] - rotation[1, 2]) / (4 * w))
    turned.y = float((rotation[0, 2] - rotation[2, 0]) / (4 * w))
    turned.z = float((rotation[1, 0] - rotation[0, 1]) / (4 * w))
    place.x, place.y, place.z = (float(value) for value in position)
    return message


def test_moving_objects_without_odometry(flow_node: FlowNodeStandIn) -> None:
    step = crossing_step(2)
    pose = "camera_pose:=[0.0, 0.0, 0.55, -0.5, 0.5, -0.5, 0.5]"
    with running("moving_objects", pose):
        masks = flow_node.listen(Image, "moving_objects/mask")
        points = flow_node.listen(PointCloud2, "moving_objects/points")
        header = flow_node.publish(step, 10.0)
        flow_node.spin_until(lambda: masks and points, "a mask")
    mask = np.frombuffer(bytes(masks[0].data), np.uint8).reshape(256, 320) > 0
    assert masks[0].header == header and masks[0].encoding == "mono8"
    assert (mask & step.newer_moving).sum() / (mask | step.newer_moving).sum() > 0.65
    ground = cloud(points[0])
    np.testing.assert_allclose(ground[:, 1], 0.55, atol=0.01)
    assert abs(np.median(ground[:, 2]) / np.nanmin(step.newer_depth[step.newer_moving]) - 1) < 0.2


def test_time_to_contact_stops(flow_node: FlowNodeStandIn) -> None:
    with running("time_to_contact", "threshold:=1.5"):
        seconds = flow_node.listen(Image, "time_to_contact/seconds")
        nearest = flow_node.listen(Float32, "time_to_contact/nearest")
        stop = flow_node.listen(Bool, "time_to_contact/stop")
        for number, distance in enumerate((3.0, 1.0, 3.0)):
            flow_node.publish(approach_step(distance, 0.1), 10.0 + number)
            flow_node.spin_until(lambda count=number + 1: len(stop) == count and len(nearest) == count, "an answer")
    assert [message.data for message in stop] == [False, True, False]
    np.testing.assert_allclose([message.data for message in nearest], [3, 1, 3], rtol=0.15)
    assert (seconds[0].width, seconds[0].height) == (15, 1)


def test_a_calibration_that_cannot_be_used_does_not_end_the_node(flow_node: FlowNodeStandIn) -> None:
    with running("time_to_contact"):
        nearest = flow_node.listen(Float32, "time_to_contact/nearest")
        flow_node.publish(approach_step(1.0, 0.1), 10.0, distortion=(0.1, 0.0, 0.0))
        flow_node.publish(approach_step(3.0, 0.1), 11.0)
        flow_node.spin_until(lambda: nearest, "an answer")
    np.testing.assert_allclose([message.data for message in nearest], [3], rtol=0.15)


def test_twist_of_a_downward_camera(flow_node: FlowNodeStandIn) -> None:
    with running("px4_optical_flow", "height:=1.0"):
        twists = flow_node.listen(TwistWithCovarianceStamped, "px4_optical_flow/twist")
        flow_node.publish(downward_step(1.0, (0.03, 0.01, 0)), 10.0)
        flow_node.spin_until(lambda: twists, "a twist")
    linear = twists[0].twist.twist.linear
    np.testing.assert_allclose([linear.x, linear.y, linear.z], [0.3, 0.1, 0], atol=0.01)
    assert twists[0].header.frame_id == "base_link" and 0 < twists[0].twist.covariance[0] < 0.01


def test_flow_points(flow_node: FlowNodeStandIn) -> None:
    step = hall_step(10)
    with running("flow_points", "count:=20"):
        points = flow_node.listen(PointCloud2, "flow_points/points")
        flow_node.publish(step, 10.0)
        flow_node.spin_until(lambda: points, "points")
    values = cloud(points[0])
    assert len(values) == 20
    column, row = values[:, 0].astype(int), values[:, 1].astype(int)
    np.testing.assert_array_equal(values[:, 2:4], step.flow[row, column])


def test_flow_view(flow_node: FlowNodeStandIn) -> None:
    step = hall_step(10)
    height, width = step.flow.shape[:2]
    with running("flow_view", "max_flow:=10.0"):
        color = flow_node.listen(Image, "mdflow/flow/image_color")
        jpeg = flow_node.listen(CompressedImage, "mdflow/flow/image_color/compressed")
        confidence = flow_node.listen(Image, "mdflow/confidence/image_color")
        flow_node.publish(step, 10.0)
        flow_node.spin_until(lambda: color and jpeg and confidence, "pictures")
    picture = np.frombuffer(color[0].data, np.uint8).reshape(height, width, 3)
    np.testing.assert_array_equal(picture, flow_to_color(step.flow, 10.0))
    decoded = cv2.imdecode(np.frombuffer(jpeg[0].data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(decoded.astype(int) - picture).mean() < 8
    assert color[0].header == jpeg[0].header == confidence[0].header
    assert (confidence[0].encoding, confidence[0].step) == ("rgb8", 3 * width)


@pytest.mark.parametrize(("direction", "compressed"), [("forward", False), ("backward", False), ("forward", True)])
def test_flow_view_blends_the_image_on_whose_grid_the_flow_lies(
    flow_node: FlowNodeStandIn, direction: str, compressed: bool
) -> None:
    step = hall_step(10)
    height, width = step.flow.shape[:2]
    kind, topic = (CompressedImage, "image/compressed") if compressed else (Image, "image")
    camera = flow_node.node.create_publisher(kind, topic, 5)

    def asked_as_the_camera_offers() -> bool:
        wanted = flow_node.node.get_subscriptions_info_by_topic(f"/{topic}")
        reliable = [endpoint.qos_profile.reliability == ReliabilityPolicy.RELIABLE for endpoint in wanted]
        return reliable == [True] and camera.get_subscription_count() == 1

    with running("flow_view", "max_flow:=10.0", "overlay:=0.5"):
        color = flow_node.listen(Image, "mdflow/flow/image_color")
        flow_node.spin_until(asked_as_the_camera_offers, "the image to be wanted")
        for sec, image in zip((9, 10), step.images, strict=True):
            header = Header(frame_id="camera")
            header.stamp.sec = sec
            if compressed:
                png = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
                camera.publish(CompressedImage(header=header, format="rgb8; png compressed bgr8", data=png))
            else:
                camera.publish(image_message(header, image))
        flow_node.spin_for(0.5)  # the consumer must have taken the images before the flow comes
        flow_node.publish(step, 10.0, interval=1.0, direction=direction)
        flow_node.spin_until(lambda: color, "a picture")
    picture = np.frombuffer(color[0].data, np.uint8).reshape(height, width, 3).astype(int)
    image = step.images[0 if direction == "forward" else 1]
    np.testing.assert_allclose(picture, (image.astype(int) + flow_to_color(step.flow, 10.0)) / 2, atol=1)


def test_flow_view_takes_the_confidence_only_while_a_picture_needs_it(flow_node: FlowNodeStandIn) -> None:
    step = hall_step(10)
    with running("flow_view"):
        color = flow_node.listen(Image, "mdflow/flow/image_color")
        flow_node.publish(step, 10.0)
        flow_node.spin_until(lambda: color, "a picture")
        assert not flow_node.outputs["confidence"].get_subscription_count()
        confidence = flow_node.listen(Image, "mdflow/confidence/image_color")
        flow_node.spin_until(flow_node.outputs["confidence"].get_subscription_count, "the confidence to be wanted")
        flow_node.publish(step, 11.0)
        flow_node.spin_until(lambda: confidence, "a picture of the confidence")


@pytest.mark.parametrize("name", NODES)
def test_help_names_every_parameter(name: str) -> None:
    module = sys.modules[NODES[name].__module__]
    text = node_parser(module.__doc__, NODES[name].PARAMETERS).format_help()
    assert f"\n{name}: " in text and all(f"  {key} (default" in text for key in NODES[name].PARAMETERS)


def test_parameter_file_holds_known_parameters_with_their_defaults() -> None:
    parameters = yaml.safe_load((ROOT / "config" / "navigation.yaml").read_text())
    assert {key.removeprefix("/**/") for key in parameters} == set(NODES)
    for key, entry in parameters.items():
        declared = NODES[key.removeprefix("/**/")].PARAMETERS
        assert entry["ros__parameters"] == {name: declared[name].default for name in entry["ros__parameters"]}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (["motion_from:=gps"], "must be one of tf, odometry, not 'gps'"),
        (["motion_from:=odometry", "camera_pose:=[0.0, 0.0, 0.0]"], "not 3 numbers"),
        (["motion_from:=odometry", "camera_pose:=[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]"], "is not a rotation"),
    ],
)
def test_bad_parameters_are_refused_at_the_start(parameters: list[str], message: str) -> None:
    assert message in errors_of_start(*parameters)


@pytest.mark.parametrize("spacing", [0, 1, 7, 8, 512])
def test_arrows_that_cover_each_other_are_refused(spacing: int) -> None:
    error = validate_parameters([Parameter("arrows", value=spacing)], FlowViewNode.PARAMETERS)
    assert (error is None) == (spacing in (0, 8, 512))
    assert error is None or (f"arrows is {spacing}" in error and "set at least 8 pixels, or 0" in error)


def test_missing_tf2_names_the_way_out() -> None:
    try:
        import tf2_ros  # noqa: F401
    except ImportError:
        assert "set motion_from to odometry" in errors_of_start()
    else:
        pytest.skip("tf2_ros is installed")


def errors_of_start(*parameters: str) -> str:
    arguments = [part for parameter in parameters for part in ("-p", parameter)]
    environment = {**ENVIRONMENT, "ROS_DOMAIN_ID": str(DOMAIN)}
    status, errors = run(environment, "mdflow_ros.navigation.nodes.depth_from_motion_node", "--ros-args", *arguments)
    assert status == 2 and "Traceback" not in errors
    return errors


def test_synchronizer_hands_over_complete_sets_only() -> None:
    sets: list[dict[str, Any]] = []
    synchronizer = ExactSynchronizer(("a", "b"), sets.append)

    def message(sec: int) -> Any:
        return SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=5)))

    for name, sec in (("a", 1), ("a", 2), ("b", 2), ("b", 1), ("a", 3), ("b", 3)):
        synchronizer.add(name, message(sec))
    assert [entry["a"].header.stamp.sec for entry in sets] == [2, 3]
    # A looping bag starts again with older stamps.
    for name in ("a", "b"):
        synchronizer.add(name, message(0))
    assert len(sets) == 3 and synchronizer.sets == 3
    for sec in range(10, 50):
        synchronizer.add("a", message(sec))
    assert len(synchronizer._waiting) <= 10

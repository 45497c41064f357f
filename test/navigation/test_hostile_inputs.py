# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Consumers report messages that they cannot use, and keep running."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

import rclpy
from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Imu, Range, TimeReference
from std_msgs.msg import Header

from mdflow_ros.navigation.downward_motion import GyroHistory
from mdflow_ros.navigation.nodes.consumer import Consumer
from mdflow_ros.navigation.nodes.depth_from_motion_node import DepthFromMotionNode
from mdflow_ros.navigation.nodes.flow_points_node import FlowPointsNode
from mdflow_ros.navigation.nodes.flow_view_node import FlowViewNode
from mdflow_ros.navigation.nodes.ground_range import GroundRange, HeightUnknown
from mdflow_ros.navigation.nodes.moving_objects_node import MovingObjectsNode
from mdflow_ros.navigation.nodes.px4_optical_flow_node import Px4OpticalFlowNode
from mdflow_ros.navigation.nodes.time_to_contact_node import TimeToContactNode
from mdflow_ros.navigation.rigid_motion import RigidMotion
from mdflow_ros.node.messages import image_message

DOMAIN = 29
NODES = (
    DepthFromMotionNode,
    FlowPointsNode,
    FlowViewNode,
    MovingObjectsNode,
    Px4OpticalFlowNode,
    TimeToContactNode,
)
SIZES = [(1, 1), (1, 64), (64, 1), (5, 7), (48, 64)]
SOURCES = ("forward", "backward", "gps")
MOTIONS = [
    RigidMotion(np.eye(3), np.zeros(3)),
    RigidMotion(np.eye(3), np.array([0.0, 0.0, 0.3])),
    RigidMotion(np.eye(3), np.array([1e30, 0.0, 0.0])),
]


@pytest.fixture(params=NODES)
def consumer(request: pytest.FixtureRequest) -> Iterator[Consumer]:
    arguments = ["--ros-args", "--log-level", "fatal", "-p", "motion_from:=odometry"]
    rclpy.init(args=arguments, domain_id=DOMAIN)
    node = request.param()
    yield node
    node.destroy_node()
    rclpy.shutdown()


def a_flow(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    across, down = np.meshgrid(np.linspace(-3, 3, width), np.linspace(-3, 3, height))
    noise = random.normal(size=(height, width, 2))
    flows = [0 * noise, 5 * noise, 1e30 * noise, noise + np.nan, noise + np.inf, np.stack((across, down), axis=-1)]
    return flows[random.integers(len(flows))].astype(np.float32)


def a_confidence(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    if random.random() < 0.1:
        height += 1
    values = [0.0, 1.0, 7.0, np.nan, random.random((height, width))]
    return np.broadcast_to(np.float32(values[random.integers(len(values))]), (height, width))


def a_calibration(height: int, width: int, random: np.random.Generator) -> CameraInfo:
    focal_length = float(random.choice([100.0, 100.0, 100.0, 0.0, -100.0, 1e-9, np.nan]))
    info = CameraInfo(height=height, width=width)
    info.distortion_model = str(random.choice(["", "plumb_bob", "equidistant", "thin_prism"]))
    info.d = list(random.normal(size=random.integers(0, 9)) * random.choice([0.0, 0.1, 10.0]))
    info.k[:] = [focal_length, 0.0, width / 2, 0.0, focal_length, height / 2, 0.0, 0.0, 1.0]
    return info


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_message_has_an_unexpected_effect(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for number in range(1, 60):
        height, width = SIZES[random.integers(len(SIZES))]
        header = Header(stamp=Time(sec=number), frame_id="camera")
        messages = {
            "flow": image_message(header, a_flow(height, width, random)),
            "confidence": image_message(header, a_confidence(height, width, random)),
            "camera_info": a_calibration(height, width, random),
            "previous_stamp": TimeReference(header=header, source=SOURCES[number % 3], time_ref=Time(sec=number - 1)),
        }
        if hasattr(consumer, "_source") and consumer._source is not None:
            motion = MOTIONS[random.integers(len(MOTIONS))]
            monkeypatch.setattr(consumer._source, "motion", lambda *_, motion=motion: motion)
        consumer._last_problem = None
        consumer._on_set({name: messages[name] for name in consumer._synchronizer.names})
        assert not (consumer._last_problem or "").startswith("unexpected"), consumer._last_problem


def test_an_unexpected_error_is_reported(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr(consumer, "on_pair", fail)
    monkeypatch.setattr(consumer, "_pair", lambda _: None)
    consumer._on_set({})
    assert consumer._last_problem == "unexpected KeyError: 'a fault'"


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 0.05])
def test_a_range_out_of_reach_is_no_height(value: float) -> None:
    ground = GroundRange()
    ground.add(Range(range=9.0, min_range=0.1, max_range=np.inf))
    assert ground.height(0) == 9.0
    ground.add(Range(range=value, min_range=0.1, max_range=np.inf))
    with pytest.raises(HeightUnknown, match="outside its limits"):
        ground.height(0)


@pytest.mark.parametrize("max_range", [0.0, 5.0])
def test_a_range_of_zero_is_no_height(max_range: float) -> None:
    ground = GroundRange()
    ground.add(Range(range=0.0, min_range=0.0, max_range=max_range))
    with pytest.raises(HeightUnknown, match="the range is 0"):
        ground.height(0)


def test_limits_that_a_driver_leaves_at_zero_do_not_count() -> None:
    ground = GroundRange()
    ground.add(Range(range=1.5, min_range=0.0, max_range=0.0))
    assert ground.height(0) == 1.5


@pytest.mark.parametrize("consumer", [Px4OpticalFlowNode], indirect=True)
def test_the_parameter_is_the_height_only_until_a_range_comes(
    consumer: Px4OpticalFlowNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HeightUnknown, match="publish a range, or set height"):
        consumer._height(10**9)
    consumer.set_parameters([Parameter("height", value=2.0)])
    assert consumer._height(10**9) == 2.0
    consumer._range.add(Range(range=np.inf, min_range=0.1, max_range=5.0))
    with pytest.raises(HeightUnknown, match="the newest range and the image are 1 s apart"):
        consumer._height(10**9)
    with pytest.raises(HeightUnknown, match="the range is 0, infinite"):
        consumer._height(0)
    consumer._range.add(Range(range=9.0, min_range=0.1, max_range=20.0))
    assert consumer._height(0) == 9.0
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    with pytest.raises(HeightUnknown, match="60 s apart: is range still published"):
        consumer._height(60 * 10**9)


@pytest.mark.parametrize("consumer", [Px4OpticalFlowNode], indirect=True)
def test_an_imu_without_gyro_says_nothing_of_the_turn(consumer: Px4OpticalFlowNode) -> None:
    message = Imu()
    message.angular_velocity_covariance[0] = -1.0
    consumer._on_imu(message)
    assert not consumer._gyro.stamps
    consumer._on_imu(Imu())
    assert consumer._gyro.stamps


def test_a_position_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[nan, 0, 0\] is not a position"):
        RigidMotion.from_quaternion(np.array([np.nan, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 1.0]))


def test_a_turn_rate_that_is_not_finite_makes_the_turn_unknown() -> None:
    gyro = GyroHistory()
    for stamp, rate in ((0, 1.0), (10**9, np.nan), (2 * 10**9, 1.0), (3 * 10**9, 1.0)):
        gyro.add(stamp, np.full(3, rate))
    assert gyro.between(0, 2 * 10**9) is None
    assert gyro.between(2 * 10**9, 3 * 10**9) == pytest.approx([1, 1, 1])
    gyro.add(3 * 10**9, np.full(3, 5.0))
    assert gyro.between(2 * 10**9, 3 * 10**9) == pytest.approx([1, 1, 1]), "a repeated stamp changes nothing"

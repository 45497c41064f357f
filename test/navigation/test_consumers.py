# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What consumers publish for a pair, without other processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Quaternion, Transform, TransformStamped
from nav_msgs.msg import Odometry
from navigation_scenes import camera_of
from node_harness import PATIENCE
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, Imu
from std_msgs.msg import Header

from mdflow_ros.core.rectification import BadCalibration
from mdflow_ros.navigation.nodes import consumer as consumer_module
from mdflow_ros.navigation.nodes import conversions, motion_consumer, px4_optical_flow_node
from mdflow_ros.navigation.nodes.camera_motion import MotionUnavailable, TransformMotion
from mdflow_ros.navigation.nodes.consumer import Consumer, PublishedFlow
from mdflow_ros.navigation.nodes.depth_from_motion_node import DepthFromMotionNode
from mdflow_ros.navigation.nodes.flow_points_node import FlowPointsNode
from mdflow_ros.navigation.nodes.moving_objects_node import MovingObjectsNode
from mdflow_ros.navigation.nodes.px4_optical_flow_node import Px4OpticalFlowNode
from mdflow_ros.navigation.nodes.time_to_contact_node import TimeToContactNode
from mdflow_ros.navigation.rigid_motion import CameraMotion, RigidMotion
from mdflow_ros.navigation.time_to_contact import TimeToContact
from mdflow_ros.node.messages import image_message
from mdflow_training.synthetic.navigation_world import Step, approach_step, downward_step

DOMAIN = 28
SECOND = 10**9
IDENTITY = Transform(rotation=Quaternion(w=1.0))


@pytest.fixture
def consumer(request: pytest.FixtureRequest) -> Iterator[Consumer]:
    node_type, *parameters = request.param
    arguments = [part for parameter in parameters for part in ("-p", parameter)]
    rclpy.init(args=["--ros-args", "--log-level", "fatal", *arguments], domain_id=DOMAIN)
    node = node_type()
    yield node
    node.destroy_node()
    rclpy.shutdown()


class Listener:
    """Stands in for a publisher that somebody subscribes to."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def get_subscription_count(self) -> int:
        return 1

    def publish(self, message: Any) -> None:
        self.messages.append(message)


def pair_of(step: Step, newer: float = 10.0, confidence: float = 0.95, backward: bool = False) -> PublishedFlow:
    flow = -step.flow if backward else step.flow
    field = np.full(step.depth.shape, confidence, np.float32)
    stamp = round(newer * SECOND)
    return PublishedFlow(Header(), stamp - SECOND // 10, stamp, flow, field, camera_of(step), backward)


@pytest.mark.parametrize("consumer", [(Px4OpticalFlowNode, "height:=1.0")], indirect=True)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_twist_does_not_depend_on_the_direction_of_the_flow(
    consumer: Px4OpticalFlowNode, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(px4_optical_flow_node, "SensorOpticalFlow", lambda: type("Message", (), {})())
    consumer._twist, consumer._sensor = Listener(), Listener()  # type: ignore[assignment]
    consumer.process(pair_of(downward_step(1.0, (0.04, 0.02, 0)), backward=direction == "backward"))
    linear = consumer._twist.messages[0].twist.twist.linear
    np.testing.assert_allclose([linear.x, linear.y], [0.4, 0.2], atol=0.02)
    right_handed = consumer._sensor.messages[0].pixel_flow
    np.testing.assert_allclose(right_handed, [0.02, 0.04], atol=0.002)


@pytest.mark.parametrize("consumer", [(Px4OpticalFlowNode, "height:=2", "max_flow_rate:=7")], indirect=True)
def test_whole_numbers_are_floats_too(consumer: Px4OpticalFlowNode) -> None:
    assert (consumer.value("height"), consumer.value("max_flow_rate")) == (2.0, 7.0)
    assert isinstance(consumer.value("height"), float), "a float field of a message takes an integer for garbage"


@pytest.mark.parametrize("consumer", [(Px4OpticalFlowNode, "height:=1.0")], indirect=True)
def test_a_twist_that_is_withheld_is_reported(consumer: Px4OpticalFlowNode) -> None:
    consumer._twist = Listener()  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"quality of the flow, 0\.00, is below min_quality"):
        consumer.process(pair_of(downward_step(1.0, (0.04, 0, 0)), confidence=0.1))


@pytest.mark.parametrize("consumer", [(Px4OpticalFlowNode, "height:=1.0")], indirect=True)
def test_a_robot_whose_gyro_is_late_is_not_taken_to_be_level(consumer: Px4OpticalFlowNode) -> None:
    consumer._twist = Listener()  # type: ignore[assignment]
    consumer._gyro.add(9 * SECOND, np.zeros(3))
    with pytest.raises(
        ValueError, match=r"imu do not cover the time between the images: their newest stamp is 9\.000 s"
    ):
        consumer.process(pair_of(downward_step(1.0, (0.04, 0, 0))))
    assert not consumer._twist.messages


@pytest.mark.parametrize("consumer", [(Px4OpticalFlowNode, "height:=1.0")], indirect=True)
def test_flow_that_is_faster_than_the_imu_waits_for_it(consumer: Px4OpticalFlowNode) -> None:
    consumer._twist = twists = Listener()  # type: ignore[assignment]

    def hear(seconds: float) -> None:
        message = Imu()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(round(seconds * SECOND), SECOND)
        consumer._on_imu(message)

    step = downward_step(1.0, (0.04, 0, 0))
    for hundredths in range(980, 1000, 2):
        hear(hundredths / 100)
    consumer.on_pair(pair_of(step, 10.0))
    assert not twists.messages
    hear(10.0)
    assert len(twists.messages) == 1
    consumer.on_pair(pair_of(step, 10.1))
    consumer.on_pair(pair_of(step, 10.2))  # the gyro fell silent: the pair before is given up
    assert len(twists.messages) == 1 and "the messages on imu do not cover" in str(consumer._last_problem)
    consumer.on_pair(pair_of(step, 12.0))  # nothing is to be expected so late
    assert consumer._waiting is None
    consumer.on_pair(pair_of(step, 10.3))
    consumer.unsubscribed()
    assert consumer._waiting is None


@pytest.mark.parametrize("consumer", [(FlowPointsNode,)], indirect=True)
def test_diagnostics_tell_when_no_pair_comes_any_more(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(consumer_module, "time", SimpleNamespace(monotonic=lambda: now))
    consumer._outputs = [Listener()]  # type: ignore[list-item]
    consumer._poll()
    level, summary = consumer._status()
    assert level == DiagnosticStatus.WARN and summary == "waiting for /mdflow/flow, /mdflow/confidence"
    flow, confidence = np.zeros((64, 64, 2), np.float32), np.zeros((64, 64), np.float32)
    pair = {"flow": image_message(Header(), flow), "confidence": image_message(Header(), confidence)}
    consumer._on_set(pair)
    assert consumer._status() == (DiagnosticStatus.OK, "running")
    consumer._on_set({**pair, "flow": image_message(Header(), confidence)})
    level, summary = consumer._status()
    assert level == DiagnosticStatus.WARN and summary.startswith("expected a little-endian 32FC2 image")
    now += 9  # what was wrong with the last pair is not what is wrong now
    level, summary = consumer._status()
    assert level == DiagnosticStatus.WARN and summary.startswith("no flow for 9 s") and "32FC2" in summary
    consumer._synchronizer.add("flow", pair["flow"])
    assert consumer._status()[1].startswith("no message on /mdflow/confidence: are all inputs those of one flow node?")
    subscriptions, consumer._outputs = consumer._outputs, []
    consumer._poll()
    assert consumer._status() == (DiagnosticStatus.OK, "nobody subscribes")
    now, consumer._outputs = now + 3600, subscriptions
    consumer._poll()  # an hour in which nobody listened is no silence of the flow node
    assert consumer._status()[1] == "waiting for /mdflow/flow, /mdflow/confidence"


@pytest.mark.parametrize("consumer", [(MovingObjectsNode,)], indirect=True)
def test_a_pair_counts_as_published_if_only_a_part_of_it_is(consumer: MovingObjectsNode) -> None:
    consumer._mask, consumer._points = masks, clouds = Listener(), Listener()  # type: ignore[assignment]
    for published in (1, 2):
        with consumer.handling_pair():
            consumer.process_motion(pair_of(approach_step(1.0, 0.1)), None)
        assert (len(masks.messages), consumer._published, len(clouds.messages)) == (published, published, 0)
        assert "set z of camera_pose" in str(consumer._last_problem)
    with consumer.handling_pair():
        raise ValueError("no pair")
    assert consumer._published == 2 and consumer._last_problem == "no pair"


@pytest.mark.parametrize("consumer", [(Px4OpticalFlowNode, "camera_pose:=[0, 0, 1, 1, 0, 0, 0]")], indirect=True)
def test_a_pose_of_whole_numbers_is_a_pose(consumer: Consumer) -> None:
    assert list(consumer.value("camera_pose")) == [0, 0, 1, 1, 0, 0, 0]
    (result,) = consumer.set_parameters([Parameter("camera_pose", value="level")])
    assert not result.successful and "must be a list of numbers, not 'level'" in result.reason


@pytest.mark.parametrize("consumer", [(TimeToContactNode,)], indirect=True)
def test_what_is_unknown_does_not_release_the_stop(consumer: TimeToContactNode) -> None:
    for name in ("_seconds", "_confidence", "_nearest", "_stop"):
        setattr(consumer, name, Listener())
    near, far = approach_step(1.0, 0.1), approach_step(3.0, 0.1)
    for number, (step, confidence) in enumerate([(far, 0.1), (near, 0.95), (near, 0.1), (near, 0.1), (far, 0.95)]):
        if confidence < 0.5:
            with pytest.raises(ValueError, match="no sector on the robot's path has enough confident flow"):
                consumer.process(pair_of(step, 10.0 + number, confidence))
        else:
            consumer.process(pair_of(step, 10.0 + number, confidence))
    assert [message.data for message in consumer._stop.messages] == [False, True, True, True, False]  # type: ignore
    nearest = [message.data for message in consumer._nearest.messages]  # type: ignore[attr-defined]
    np.testing.assert_allclose(nearest, [np.nan, 1, np.nan, np.nan, 3], rtol=0.15)


@pytest.mark.parametrize("consumer", [(TimeToContactNode,)], indirect=True)
def test_the_stop_ends_only_when_the_contact_is_surely_later(consumer: TimeToContactNode) -> None:
    """Growth of 0.1 in 0.1 s is 1 s; the threshold is 1.5 s."""

    def stops(growth: float, sigma: float, now: float) -> bool:
        return consumer._must_stop(TimeToContact(np.array([[growth]]), np.array([[sigma]]), 0.1), now)

    assert not stops(0.1, 0.08, 10.0), "not sure enough to begin"
    assert stops(0.1, 0.03, 11.0)
    assert stops(0.1, 0.08, 12.0) and stops(0.05, 0.03, 13.0), "nor sure enough to end"
    assert stops(0.02, 0.01, 14.0) is False


@pytest.mark.parametrize("consumer", [(TimeToContactNode, "hold:=2.0")], indirect=True)
@pytest.mark.parametrize(("name", "value"), [("hold", 0.1), ("columns", 5), ("path_width", 1.0)])
def test_a_parameter_that_changes_does_not_release_the_stop(
    consumer: TimeToContactNode, name: str, value: float
) -> None:
    for output in ("_seconds", "_confidence", "_nearest", "_stop"):
        setattr(consumer, output, Listener())
    near, far = approach_step(1.0, 0.1), approach_step(3.0, 0.1)
    consumer.process(pair_of(near, 10.0))
    consumer.set_parameters([Parameter(name, value=value)])
    with pytest.raises(ValueError, match="no sector on the robot's path"):
        consumer.process(pair_of(near, 10.1, confidence=0.1))
    consumer.process(pair_of(far, 20.0))
    consumer.process(pair_of(near, 20.1))
    with pytest.raises(ValueError, match="no sector on the robot's path"):
        consumer.process(pair_of(near, 20.0, confidence=0.1))  # the clock is corrected a little
    consumer.process(pair_of(far, 5.0))  # a bag loops: what was near then says nothing now
    stops = [message.data for message in consumer._stop.messages]  # type: ignore[attr-defined]
    assert stops == [True, True, False, True, True, False]


@pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
def test_rectified_images_have_no_distortion(model: str) -> None:
    info = CameraInfo(width=64, height=48, distortion_model=model, d=[0.1, 0.0, 0.0, 0.0])
    info.k[:] = [50.0, 0, 31.5, 0, 50.0, 23.5, 0, 0, 1]
    with pytest.raises(BadCalibration, match="P of camera_info is empty"):
        conversions.camera_of(info, rectified=True)
    pixel = np.array([[[61.5, 23.5]]], np.float32)
    info.d = [0.0] * 4  # some drivers of rectified images fill K alone
    np.testing.assert_allclose(conversions.camera_of(info, rectified=True).rays(pixel), [[[0.6, 0]]], atol=1e-6)
    info.p[:] = [60.0, 0, 31.5, 0, 0, 60.0, 23.5, 0, 0, 0, 1, 0]
    np.testing.assert_allclose(conversions.camera_of(info, rectified=True).rays(pixel), [[[0.5, 0]]], atol=1e-6)


@pytest.mark.parametrize("consumer", [(TimeToContactNode, "top:=0.9")], indirect=True)
def test_sectors_need_some_height(consumer: TimeToContactNode) -> None:
    with pytest.raises(ValueError, match=r"top, 0\.9, must be less than bottom, 0\.65"):
        consumer.process(pair_of(approach_step(1.0, 0.1)))


@pytest.mark.parametrize("consumer", [(DepthFromMotionNode, "motion_from:=odometry", "min_depth:=30.0")], indirect=True)
def test_depths_need_some_range(consumer: DepthFromMotionNode) -> None:
    motion = CameraMotion.with_sigmas(RigidMotion(np.eye(3), np.array([0.0, 0.0, -0.1])), 0.02, 0.003)
    with pytest.raises(ValueError, match="min_depth, 30, must be less than max_depth, 20"):
        consumer.process_motion(pair_of(approach_step(1.0, 0.1)), motion)


@pytest.mark.parametrize("consumer", [(Px4OpticalFlowNode, "min_ground_distance:=40.0")], indirect=True)
def test_heights_that_px4_may_use_need_some_range(consumer: Px4OpticalFlowNode) -> None:
    consumer._sensor = Listener()  # type: ignore[assignment]
    with pytest.raises(ValueError, match="min_ground_distance, 40, must be less than max_ground_distance, 30"):
        consumer.process(pair_of(downward_step(1.0, (0.04, 0, 0))))


@pytest.mark.parametrize("consumer", [(FlowPointsNode,)], indirect=True)
@pytest.mark.parametrize(("highest", "is_used"), [(1.0, True), (1.0000001, True), (95.0, False)])
def test_a_confidence_that_is_no_probability_is_refused(
    consumer: FlowPointsNode, highest: float, is_used: bool
) -> None:
    consumer._points = Listener()  # type: ignore[assignment]
    flow, confidence = np.zeros((64, 64, 2), np.float32), np.full((64, 64), highest, np.float32)
    confidence[0, 0] = np.nan
    consumer._on_set({"flow": image_message(Header(), flow), "confidence": image_message(Header(), confidence)})
    assert len(consumer._points.messages) == is_used
    assert is_used or "/mdflow/confidence holds 95, but a probability is at most 1" in str(consumer._last_problem)


@pytest.mark.parametrize(
    ("consumer", "name", "value", "error"),
    [
        ((DepthFromMotionNode, "motion_from:=odometry"), "min_depth", 0, "must be between 0.01 and"),
        ((FlowPointsNode,), "min_confidence", "abc", "must be a number, not 'abc'"),
        ((TimeToContactNode,), "threshold", 100, "must be between 0 and 60"),
        ((TimeToContactNode,), "hold", None, "hold needs a value"),
        ((Px4OpticalFlowNode,), "camera_pose", [0.0] * 7, "is not a rotation"),
    ],
    indirect=["consumer"],
)
def test_bad_values_are_refused_while_running(consumer: Consumer, name: str, value: Any, error: str) -> None:
    before = consumer.value(name)
    (result,) = consumer.set_parameters([Parameter(name, value=value)])
    assert not result.successful and error in result.reason
    assert consumer.value(name) == before


@pytest.mark.parametrize("consumer", [(DepthFromMotionNode, "motion_from:=odometry")], indirect=True)
def test_pairs_that_wait_go_with_the_last_subscriber(consumer: DepthFromMotionNode) -> None:
    consumer._inputs = consumer._subscribe(consumer.wanted_inputs())
    consumer._synchronizer.add("flow", pair_of(approach_step(1.0, 0.1)))
    consumer.on_pair(pair_of(approach_step(1.0, 0.1)))
    assert consumer._waiting and not consumer._retry_timer.is_canceled()
    consumer._poll()  # nobody subscribes
    assert not consumer._waiting and consumer._retry_timer.is_canceled() and not consumer._synchronizer._waiting


@pytest.mark.parametrize("consumer", [(DepthFromMotionNode, "motion_from:=odometry")], indirect=True)
def test_motion_that_comes_late_still_gives_depth(
    consumer: DepthFromMotionNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, known_until, processed = 0.0, 0, []

    def motion(older: int, newer: int, frame: str) -> RigidMotion | None:
        return RigidMotion(np.eye(3), np.zeros(3)) if newer <= known_until else None

    monkeypatch.setattr(motion_consumer, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(consumer._source, "motion", motion)
    monkeypatch.setattr(consumer, "process_motion", lambda pair, _: processed.append(pair.newer))
    for number in range(15, 106):  # 3 s at 30 Hz; the odometry is half a second late
        now, known_until = number / 30, (number - 15) * SECOND // 30
        consumer.on_pair(pair_of(approach_step(1.0, 0.1), number / 30))
    assert len(processed) >= 40 and processed == sorted(processed)
    assert consumer._last_problem is None and int(consumer.diagnostic_values()["pairs_skipped"]) > 0
    known_until, now = 0, 10.0
    consumer._retry()
    assert not consumer._waiting and "after waiting 1 s for /odom" in str(consumer._last_problem)


@pytest.mark.parametrize("consumer", [(DepthFromMotionNode, "motion_from:=odometry")], indirect=True)
def test_odometry_of_another_clock_is_told_from_odometry_that_is_absent(
    consumer: DepthFromMotionNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(motion_consumer, "time", SimpleNamespace(monotonic=lambda: now))
    message = Odometry()
    message.pose.pose.orientation.w, message.header.stamp.sec = 1.0, 1000
    consumer._source._on_odometry(message)  # type: ignore[union-attr]
    step = approach_step(1.0, 0.1)
    consumer.on_pair(pair_of(step, 10.0))
    assert "/odom begins 990 s after the older image's stamp" in str(consumer._last_problem)
    consumer.on_pair(pair_of(step, 2000.0))
    now = 2.0
    consumer._retry()
    waited = "the pair with stamp 2000.000 s after waiting 1 s for /odom (newest stamp 1000.000 s)"
    assert waited in str(consumer._last_problem)


def test_transforms_are_forgotten_when_time_jumps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    cleared: list[bool] = []
    buffer = SimpleNamespace(
        clear=lambda: cleared.append(True), lookup_transform_full=lambda *_: TransformStamped(transform=IDENTITY)
    )
    stand_in = SimpleNamespace(
        Buffer=lambda **_: buffer, TransformListener=lambda *_: None, TransformException=KeyError
    )
    monkeypatch.setitem(sys.modules, "tf2_ros", stand_in)  # type: ignore[arg-type]
    node = SimpleNamespace(get_parameter=lambda _: SimpleNamespace(value="odom"))
    source = TransformMotion(node)  # type: ignore[arg-type]
    for newer, jumps in ((100.0, 0), (100.1, 0), (100.05, 0), (50.0, 1), (50.1, 1), (160.0, 1), (100.0, 2)):
        stamp = int(newer * SECOND)
        assert source.motion(stamp - SECOND // 10, stamp, "camera") is not None
        assert len(cleared) == jumps, newer


def test_a_frame_that_tf_does_not_know_names_the_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    class TransformException(Exception):
        pass

    def fail(*_: object) -> None:
        raise TransformException('"map" does not exist. ')

    buffer = SimpleNamespace(lookup_transform_full=fail, lookup_transform=fail)
    stand_in = SimpleNamespace(
        Buffer=lambda **_: buffer, TransformListener=lambda *_: None, TransformException=TransformException
    )
    monkeypatch.setitem(sys.modules, "tf2_ros", stand_in)  # type: ignore[arg-type]
    node = SimpleNamespace(get_parameter=lambda _: SimpleNamespace(value="map"))
    source = TransformMotion(node)  # type: ignore[arg-type]
    assert source.motion(SECOND, 2 * SECOND, "camera") is None
    assert source.waits_for().startswith('TF: "map" does not exist; is odom_frame right')
    with pytest.raises(MotionUnavailable, match='no camera pose: "map" does not exist; set base_frame'):
        source.camera_pose("camera")


@pytest.mark.parametrize("consumer", [(FlowPointsNode,)], indirect=True)
def test_flow_that_is_published_with_another_qos_is_reported(consumer: FlowPointsNode) -> None:
    camera = rclpy.create_node("flow_node")
    camera.create_publisher(Image, "mdflow/flow", QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT))
    consumer._inputs = consumer._subscribe(consumer.wanted_inputs())
    deadline = time.monotonic() + PATIENCE
    while consumer._last_problem is None and time.monotonic() < deadline:
        rclpy.spin_once(consumer, timeout_sec=0.1)
    camera.destroy_node()
    assert "qos_overrides./mdflow/flow.subscription.reliability" in str(consumer._last_problem)

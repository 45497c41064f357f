# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""px4_optical_flow: turn a downward camera into an optical flow sensor, for PX4 and for robot_localization.

Inputs: mdflow/flow, mdflow/confidence, mdflow/camera_info, mdflow/previous_stamp of the flow node; range
(sensor_msgs/Range), without which the parameter height is used; imu (sensor_msgs/Imu in the robot's axes), without
which the gyro fields are NaN and the robot is assumed to stay level. Outputs: fmu/in/sensor_optical_flow
(px4_msgs/SensorOpticalFlow, where px4_msgs is installed) and ~/twist (geometry_msgs/TwistWithCovarianceStamped in
base_frame).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from geometry_msgs.msg import TwistWithCovarianceStamped
from numpy.typing import NDArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Imu, Range

from mdflow_ros.core.stamps import NANOSECONDS
from mdflow_ros.navigation.downward_motion import (
    DOWNWARD_LOOKING,
    FLU_TO_FRD,
    GyroHistory,
    Twist,
    camera_rotation,
    ground_motion,
    ground_twist,
    pixel_flow,
)
from mdflow_ros.navigation.matches import derotated, reoriented
from mdflow_ros.navigation.nodes.camera_motion import pose_error
from mdflow_ros.navigation.nodes.consumer import CALIBRATED, Consumer, PublishedFlow, run
from mdflow_ros.navigation.nodes.ground_range import GroundRange, HeightUnknown
from mdflow_ros.navigation.rigid_motion import RigidMotion
from mdflow_ros.node.messages import stamp_of
from mdflow_ros.node.parameters import Declaration

try:
    from px4_msgs.msg import SensorOpticalFlow
except ImportError:
    SensorOpticalFlow = None

DOWN = RigidMotion.of_pose(DOWNWARD_LOOKING).rotation
"""Axes of a camera that looks straight down; the view of a tilted camera is rotated to them."""


class Px4OpticalFlowNode(Consumer):
    """Publishes the motion over the ground."""

    PARAMETERS: ClassVar[Mapping[str, Declaration]] = {
        **CALIBRATED,
        "camera_pose": Declaration(
            list(DOWNWARD_LOOKING),
            "x, y, z and quaternion x, y, z, w of the camera's optical frame in base_frame. By default it looks down, "
            "the image's top toward the robot's front.",
            check=pose_error,
        ),
        "base_frame": Declaration("base_link", "The robot's frame (forward, left, up), of ~/twist."),
        "height": Declaration(
            0.0,
            "Height of the camera over the ground until the first range is received, meters; 0 if unknown.",
            minimum=0.0,
            maximum=1000.0,
        ),
        "height_sigma": Declaration(
            0.03, "Standard deviation of the height, as a share of the height.", minimum=0.0, maximum=1.0
        ),
        "min_quality": Declaration(
            0.2, "Minimum quality of the flow, 0 to 1, at which ~/twist is published.", minimum=0.0, maximum=1.0
        ),
        "max_flow_rate": Declaration(7.0, "Maximum flow rate that PX4 may use, rad/s.", minimum=0.1, maximum=100.0),
        "min_ground_distance": Declaration(
            0.1, "Minimum height at which PX4 may use the flow, meters.", minimum=0.0, maximum=100.0
        ),
        "max_ground_distance": Declaration(
            30.0, "Maximum height at which PX4 may use the flow, meters.", minimum=0.1, maximum=1000.0
        ),
    }

    def __init__(self) -> None:
        super().__init__("px4_optical_flow")
        self._twist = self.output(TwistWithCovarianceStamped, "~/twist")
        self._sensor = self.output(SensorOpticalFlow, "fmu/in/sensor_optical_flow") if SensorOpticalFlow else None
        if self._sensor is None:
            self.get_logger().info("px4_msgs is not installed: only ~/twist is published")
        self._gyro = GyroHistory()
        self._range = GroundRange()
        profile = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Imu, "imu", self._on_imu, profile)
        self.create_subscription(Range, "range", self._range.add, profile)
        self._quality = 0.0
        self._waiting: PublishedFlow | None = None
        """The newest pair, until imu messages reach the stamp of its newer image."""

    def on_pair(self, pair: PublishedFlow) -> None:
        """Process the pair when imu messages reach its stamp, or when the next pair arrives."""
        self._process_waiting()
        self._waiting = pair
        if not self._gyro.is_late(pair.newer):
            self._process_waiting()

    def unsubscribed(self) -> None:
        """Drop the waiting pair, because nobody subscribes any more."""
        self._waiting = None

    def _process_waiting(self) -> None:
        pair, self._waiting = self._waiting, None
        if pair is not None:
            with self.handling_pair():
                self.process(pair)

    def _on_imu(self, message: Imu) -> None:
        if message.angular_velocity_covariance[0] == -1:  # means no gyro, by the message's definition
            self.get_logger().warning("imu is not used: its messages say that they have no angular velocity", once=True)
            return
        rate = message.angular_velocity
        self._gyro.add(stamp_of(message.header), np.array([rate.x, rate.y, rate.z]))
        if self._waiting is not None and not self._gyro.is_late(self._waiting.newer):
            self._process_waiting()

    def _height(self, stamp: int) -> float:
        if self._range.is_received:
            return self._range.height(stamp)
        if not self.value("height"):
            raise HeightUnknown("publish a range, or set height")
        return self.value("height")

    def process(self, pair: PublishedFlow) -> None:
        """Measure the motion and publish it."""
        camera = RigidMotion.of_pose(self.value("camera_pose"))
        gyro_rotation = self._gyro.between(pair.older, pair.newer)
        height: float | None = None
        try:
            height = self._height(pair.newer)
        except HeightUnknown as error:
            reason = str(error)
        matches = reoriented(self.matches(pair), DOWN.T @ camera.rotation)
        if gyro_rotation is not None:
            matches = derotated(matches, camera_rotation(gyro_rotation, DOWN))
        ground = ground_motion(matches, self.value("min_confidence"))
        self._quality = ground.quality if ground else 0.0
        if self._sensor is not None and self._sensor.get_subscription_count():
            self._check_ground_distances()
            shift = ground.shift if ground else np.zeros(2)
            now = self.get_clock().now().nanoseconds
            flow = pixel_flow(shift, DOWN, gyro_rotation)
            message = sensor_message(pair, now, flow, gyro_rotation, height, self._quality)
            for name in ("max_flow_rate", "min_ground_distance", "max_ground_distance"):
                setattr(message, name, self.value(name))
            self.publish(self._sensor, message)
        if self._twist.get_subscription_count():
            if ground is None or self._quality < self.value("min_quality"):
                raise ValueError(f"no ~/twist: the quality of the flow, {self._quality:.2f}, is below min_quality")
            if height is None:
                raise ValueError(f"no ~/twist without the height over the ground: {reason}")
            if gyro_rotation is None and self._gyro.stamps:
                newest = self._gyro.stamps[-1] / NANOSECONDS
                raise ValueError(
                    "no ~/twist: the messages on imu do not cover the time between the images: their newest stamp is "
                    f"{newest:.3f} s, the newer image's {pair.newer / NANOSECONDS:.3f} s"
                )
            sigma = self.value("height_sigma") * height
            twist = ground_twist(ground, height, sigma, pair.interval, DOWN, camera.translation, gyro_rotation)
            self.publish(self._twist, self._twist_message(pair, twist))

    def _check_ground_distances(self) -> None:
        least, most = self.value("min_ground_distance"), self.value("max_ground_distance")
        if not least < most:
            raise ValueError(
                f"min_ground_distance, {least:g}, must be less than max_ground_distance, {most:g}, or PX4 uses no flow"
            )

    def _twist_message(self, pair: PublishedFlow, twist: Twist) -> TwistWithCovarianceStamped:
        message = TwistWithCovarianceStamped()
        message.header.stamp, message.header.frame_id = pair.header.stamp, self.value("base_frame")
        for vector, values in (
            (message.twist.twist.linear, twist.linear),
            (message.twist.twist.angular, twist.angular),
        ):
            vector.x, vector.y, vector.z = (float(value) for value in values)
        message.twist.covariance[:] = twist.covariance.ravel()
        return message

    def diagnostic_values(self) -> dict[str, str]:
        """Add the quality."""
        return {"quality": f"{self._quality:.3f}"}


def sensor_message(
    pair: PublishedFlow,
    now: int,
    flow: NDArray[np.float64],
    gyro_rotation: NDArray[np.float64] | None,
    height: float | None,
    quality: float,
) -> Any:
    """Return a px4_msgs/SensorOpticalFlow; the caller fills in the limits.

    Args:
        pair: of images.
        now: nanoseconds; simulated time is 0 until somebody publishes /clock.
        flow: ``(2,)``, rotation about PX4's x and y axes (forward, right) that would give the same flow, radians.
        gyro_rotation: ``(3,)`` radians about the robot's axes (forward, left, up); ``None`` if unknown.
        height: over the ground, meters; ``None`` if unknown.
        quality: in [0, 1].
    """
    message = SensorOpticalFlow()
    message.timestamp_sample = pair.newer // 1000
    message.timestamp = max(now, pair.newer) // 1000
    message.integration_timespan_us = (pair.newer - pair.older) // 1000
    message.pixel_flow = [float(angle) for angle in flow]
    delta = np.full(3, np.nan) if gyro_rotation is None else FLU_TO_FRD @ gyro_rotation
    message.delta_angle = [float(angle) for angle in delta]
    message.delta_angle_available = gyro_rotation is not None
    message.distance_m, message.distance_available = np.nan if height is None else height, height is not None
    message.quality = round(255 * quality)
    return message


def main(arguments: list[str] | None = None) -> int:
    """Run the node."""
    return run(Px4OpticalFlowNode, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())

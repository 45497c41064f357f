# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Get the camera's motion between two stamps from TF or from odometry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from geometry_msgs.msg import Pose, Transform
from nav_msgs.msg import Odometry
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time

from mdflow_ros.core.stamps import NANOSECONDS
from mdflow_ros.navigation.nodes.consumer import MissingPackage
from mdflow_ros.navigation.rigid_motion import PoseHistory, RigidMotion
from mdflow_ros.navigation.timed_values import MAX_LATE
from mdflow_ros.node.messages import stamp_of
from mdflow_ros.node.parameters import Declaration

FORWARD_LOOKING = (0.0, 0.0, 0.0, -0.5, 0.5, -0.5, 0.5)
"""Pose of a camera at the robot's center that looks forward: optical axes in forward, left, up (REP 103)."""


def pose_error(pose: Sequence[float]) -> str | None:
    """Return why a value of the parameter ``camera_pose`` is invalid, or ``None``."""
    try:
        RigidMotion.of_pose(pose)
    except ValueError as error:
        return f"camera_pose: {error}"
    return None


MOTION_PARAMETERS = {
    "motion_from": Declaration(
        "tf",
        "Where the camera's motion comes from. tf: /tf between odom_frame and the camera's frame, by tf2_ros. "
        "odometry: nav_msgs/Odometry on odom, with camera_pose.",
        choices=("tf", "odometry"),
        read_only=True,
    ),
    "odom_frame": Declaration("odom", "With tf: a frame that does not move with the robot and does not jump."),
    "base_frame": Declaration("base_footprint", "With tf: the robot's frame, its origin on the ground."),
    "camera_pose": Declaration(
        list(FORWARD_LOOKING),
        "Without tf: x, y, z and quaternion x, y, z, w of the camera's optical frame in the odometry's child frame; z "
        "is the camera's height over the ground.",
        check=pose_error,
    ),
    "translation_sigma": Declaration(
        0.02, "Standard deviation of the measured translation, as a share of the distance.", minimum=0.0, maximum=1.0
    ),
    "rotation_sigma": Declaration(
        0.2, "Standard deviation of the measured rotation between two images, degrees.", minimum=0.0, maximum=10.0
    ),
}


class MotionUnavailable(ValueError):
    """The camera's motion between two stamps is not known and will not be."""


class MotionSource(Protocol):
    """A source of the camera's motion."""

    def motion(self, older: int, newer: int, camera_frame: str) -> RigidMotion | None:
        """Return the motion from the older to the newer camera, or ``None`` if it is not known yet.

        Raises:
            MotionUnavailable: it will not become known.
        """

    def camera_pose(self, camera_frame: str) -> RigidMotion:
        """Return the camera's pose in the robot's frame.

        Raises:
            MotionUnavailable: it is not known.
        """

    def waits_for(self) -> str:
        """Return what is missing while `motion` returns ``None``."""


def rigid(pose: Pose | Transform) -> RigidMotion:
    """Return a pose or a transform as a rigid motion.

    Raises:
        ValueError: it is not finite, or its quaternion is zero.
    """
    position = pose.translation if isinstance(pose, Transform) else pose.position
    orientation = pose.rotation if isinstance(pose, Transform) else pose.orientation
    return RigidMotion.from_quaternion(
        np.array([position.x, position.y, position.z]),
        np.array([orientation.x, orientation.y, orientation.z, orientation.w]),
    )


class OdometryMotion:
    """The motion from interpolated poses of nav_msgs/Odometry.

    Args:
        node: with the parameter ``camera_pose``.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._poses = PoseHistory()
        profile = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._subscription = node.create_subscription(Odometry, "odom", self._on_odometry, profile)

    def _on_odometry(self, message: Odometry) -> None:
        try:
            self._poses.add(stamp_of(message.header), rigid(message.pose.pose))
        except ValueError as error:
            self._node.get_logger().error(f"odometry: {error}", throttle_duration_sec=5.0)

    def motion(self, older: int, newer: int, camera_frame: str) -> RigidMotion | None:
        """Return the motion between two stamps."""
        first, second = self._poses.at(older), self._poses.at(newer)
        if first is None and self._poses.oldest is not None and older < self._poses.oldest:
            raise MotionUnavailable(
                f"{self._subscription.topic_name} begins {(self._poses.oldest - older) / NANOSECONDS:.3g} s after the "
                "older image's stamp: do both use the same clock?"
            )
        if first is None or second is None:
            if self._poses.newest is not None and newer <= self._poses.newest:
                raise MotionUnavailable(f"{self._subscription.topic_name} has a gap around the images' stamps")
            return None
        camera = self.camera_pose(camera_frame)
        return (second @ camera).inverse() @ (first @ camera)

    def camera_pose(self, camera_frame: str) -> RigidMotion:
        """Return the pose that the parameter ``camera_pose`` gives."""
        return RigidMotion.of_pose(self._node.get_parameter("camera_pose").value)

    def waits_for(self) -> str:
        """Return the odometry topic and its newest stamp."""
        newest = self._poses.newest
        state = "nothing so far" if newest is None else f"newest stamp {newest / NANOSECONDS:.3f} s"
        return f"{self._subscription.topic_name} ({state})"


class TransformMotion:
    """The motion from TF.

    Args:
        node: with the parameters ``odom_frame`` and ``base_frame``.

    Raises:
        MissingPackage: tf2_ros is not installed.
    """

    def __init__(self, node: Node) -> None:
        try:
            import tf2_ros
        except ImportError as error:
            raise MissingPackage(
                "motion_from is tf, which needs tf2_ros (apt install ros-<distro>-tf2-ros-py); "
                "or set motion_from to odometry, remap odom and set camera_pose"
            ) from error
        self._node = node
        self._error: type[Exception] = tf2_ros.TransformException
        self._buffer: Any = tf2_ros.Buffer(cache_time=Duration(seconds=10))
        self._listener = tf2_ros.TransformListener(self._buffer, node)
        self._last = ""
        self._newest = 0

    def motion(self, older: int, newer: int, camera_frame: str) -> RigidMotion | None:
        """Return the motion between two stamps."""
        if newer < self._newest - MAX_LATE:  # a bag looped, or a simulation was reset
            # tf2 refuses transforms older than those it has, and only some versions clear these automatically.
            self._buffer.clear()
            self._newest = newer
        self._newest = max(self._newest, newer)
        fixed = self._node.get_parameter("odom_frame").value
        try:
            found = self._buffer.lookup_transform_full(
                camera_frame, Time(nanoseconds=newer), camera_frame, Time(nanoseconds=older), fixed
            )
        except self._error as error:
            self._last = _text(error)
            return None
        return rigid(found.transform)

    def camera_pose(self, camera_frame: str) -> RigidMotion:
        """Return the newest transform from the camera to the robot's frame."""
        try:
            base = self._node.get_parameter("base_frame").value
            return rigid(self._buffer.lookup_transform(base, camera_frame, Time()).transform)
        except self._error as error:
            raise MotionUnavailable(f"no camera pose: {_text(error)}; set base_frame to the robot's frame") from error

    def waits_for(self) -> str:
        """Return tf2's last error, and what to check."""
        return f"TF: {self._last}; is odom_frame right, and the frame_id of the images?"


def _text(error: Exception) -> str:
    """Return the text of an error without the period and the space at its end, as tf2 writes them."""
    return str(error).rstrip(". ")


def motion_source(node: Node) -> MotionSource:
    """Return the source that the parameter ``motion_from`` names.

    Raises:
        MissingPackage: it needs a package that is not installed.
    """
    return OdometryMotion(node) if node.get_parameter("motion_from").value == "odometry" else TransformMotion(node)

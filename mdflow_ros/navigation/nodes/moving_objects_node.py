# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""moving_objects: find objects that move on their own, with a camera that may move too.

Inputs: mdflow/flow, mdflow/confidence, mdflow/camera_info, mdflow/previous_stamp of the flow node, and TF or odometry
if motion_from names one of them. Outputs, stamped as the newer image: ~/mask (mono8, 255 where something moves),
~/detections (vision_msgs/Detection2DArray, only if vision_msgs is installed), and ~/points (PointCloud2: where the
objects stand on flat ground, in the camera's frame; needs the camera's pose, from tf or the parameter camera_pose).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from mdflow_ros.navigation.moving_objects import (
    MovingLimits,
    MovingObject,
    ground_points,
    moving_objects,
    static_residual,
)
from mdflow_ros.navigation.nodes.camera_motion import MOTION_PARAMETERS, MotionSource, motion_source
from mdflow_ros.navigation.nodes.consumer import PublishedFlow, run
from mdflow_ros.navigation.nodes.conversions import point_cloud
from mdflow_ros.navigation.nodes.motion_consumer import MotionConsumer
from mdflow_ros.navigation.rigid_motion import CameraMotion, RigidMotion
from mdflow_ros.node.messages import image_message
from mdflow_ros.node.parameters import Declaration

try:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose
except ImportError:
    Detection2DArray = None

FLOW_ALONE = "flow"


class MovingObjectsNode(MotionConsumer):
    """Publishes what the camera's own motion does not explain."""

    PARAMETERS: ClassVar[Mapping[str, Declaration]] = {
        **MotionConsumer.PARAMETERS,
        "motion_from": Declaration(
            FLOW_ALONE,
            "Where the camera's motion comes from. flow: the flow itself. tf: /tf between odom_frame and the camera's "
            "frame, by tf2_ros. odometry: nav_msgs/Odometry on odom, with camera_pose.",
            choices=(FLOW_ALONE, *(MOTION_PARAMETERS["motion_from"].choices or ())),
            read_only=True,
        ),
        "min_depth": Declaration(
            0.3, "With tf or odometry: nearest static point, meters.", minimum=0.01, maximum=100.0
        ),
        "min_residual": Declaration(
            MovingLimits.min_residual,
            "Minimum normalized residual of a moving point: its distance from the flow of static points, in standard "
            "deviations.",
            minimum=1.0,
            maximum=100.0,
        ),
        "min_area": Declaration(
            MovingLimits.min_area, "Minimum area of an object, as a share of the view.", minimum=0.0, maximum=1.0
        ),
    }

    def __init__(self) -> None:
        super().__init__("moving_objects")
        self._mask = self.output(Image, "~/mask")
        self._points = self.output(PointCloud2, "~/points")
        self._detections = self.output(Detection2DArray, "~/detections") if Detection2DArray else None
        if self._detections is None:
            self.get_logger().info("vision_msgs is not installed: ~/detections is not published")
        self._count = 0

    def make_source(self) -> MotionSource | None:
        """Return no source if the motion comes from the flow."""
        return None if self.value("motion_from") == FLOW_ALONE else motion_source(self)

    def process_motion(self, pair: PublishedFlow, motion: CameraMotion | None) -> None:
        """Find the objects and publish them."""
        assert pair.camera is not None
        matches = self.matches(pair)
        limits = MovingLimits(**{name: self.value(name) for name in MovingLimits.__dataclass_fields__})
        residual = static_residual(matches, motion, self.value("min_depth"), limits.min_confidence)
        if residual is None:
            raise ValueError(
                "no camera motion explains half of the confident flow: objects may fill the view, or it is too dark"
            )
        mask, objects = moving_objects(matches, residual, pair.camera.size, limits)
        self._count = len(objects)
        if self._mask.get_subscription_count():
            self.publish(self._mask, image_message(pair.header, mask))
        if self._detections is not None and self._detections.get_subscription_count():
            self.publish(self._detections, detections_message(pair.header, objects))
        if self._points.get_subscription_count():
            pose = self._camera_pose(pair.header.frame_id)
            rays = pair.camera.rays(bottom_corners(objects, pair.camera.size))
            self.publish(self._points, point_cloud(pair.header, ("x", "y", "z"), ground_points(rays, pose)))

    def _camera_pose(self, frame: str) -> RigidMotion:
        if self._source is not None:
            pose = self._source.camera_pose(frame)
        else:
            pose = RigidMotion.of_pose(self.value("camera_pose"))
        if not pose.translation[2] > 0:
            remedy = "check base_frame" if self.value("motion_from") == "tf" else "set z of camera_pose"
            raise ValueError(f"the camera's height is {pose.translation[2]:g} m; ~/points needs it: {remedy}")
        return pose

    def diagnostic_values(self) -> dict[str, str]:
        """Add the number of objects."""
        return {**super().diagnostic_values(), "objects": str(self._count)}


def bottom_corners(objects: list[MovingObject], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the pixels ``(N, 2, 2)`` of the bottom left and right corners, within the image."""
    corners = [
        [[found.left, bottom], [min(found.left + found.width, size[0] - 1), bottom]]
        for found in objects
        for bottom in [min(found.top + found.height, size[1] - 1)]
    ]
    return np.array(corners, np.float32).reshape(-1, 2, 2)


def detections_message(header: Header, objects: list[MovingObject]) -> Any:
    """Return the boxes as vision_msgs/Detection2DArray."""
    message = Detection2DArray(header=header)
    for found in objects:
        detection = Detection2D(header=header)
        center = detection.bbox.center.position
        center.x, center.y = found.left + found.width / 2, found.top + found.height / 2
        detection.bbox.size_x, detection.bbox.size_y = float(found.width), float(found.height)
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = "moving", found.score
        detection.results.append(result)
        message.detections.append(detection)
    return message


def main(arguments: list[str] | None = None) -> int:
    """Run the node."""
    return run(MovingObjectsNode, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())

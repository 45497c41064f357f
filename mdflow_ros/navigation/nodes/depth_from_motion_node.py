# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""depth_from_motion: metric depth of static points from one moving camera.

Inputs: mdflow/flow, mdflow/confidence, mdflow/camera_info, mdflow/previous_stamp of the flow node; TF, or
nav_msgs/Odometry on odom. Outputs, all of the newer image: ~/points (PointCloud2: x, y, z, confidence, sigma_z, in the
camera's frame), ~/image (32FC1 depth, rectified, meters, NaN where unknown) and ~/camera_info for it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from mdflow_ros.core.resizing import Size
from mdflow_ros.navigation.depth_from_motion import DepthLimits, depth_from_motion, depth_image
from mdflow_ros.navigation.nodes.consumer import PublishedFlow, run
from mdflow_ros.navigation.nodes.conversions import coarse_camera_info, point_cloud
from mdflow_ros.navigation.nodes.motion_consumer import MotionConsumer
from mdflow_ros.navigation.rigid_motion import CameraMotion
from mdflow_ros.node.messages import image_message
from mdflow_ros.node.parameters import Declaration

CLOUD_FIELDS = ("x", "y", "z", "confidence", "sigma_z")


class DepthFromMotionNode(MotionConsumer):
    """Publishes the depth of static points."""

    PARAMETERS: ClassVar[Mapping[str, Declaration]] = {
        **MotionConsumer.PARAMETERS,
        "min_depth": Declaration(DepthLimits.min_depth, "Nearest point, meters.", minimum=0.01, maximum=100.0),
        "max_depth": Declaration(DepthLimits.max_depth, "Farthest point, meters.", minimum=0.1, maximum=10000.0),
        "max_relative_sigma": Declaration(
            DepthLimits.max_relative_sigma,
            "Maximum standard deviation of a point's depth, as a share of the depth.",
            minimum=0.01,
            maximum=1.0,
        ),
        "max_residual": Declaration(
            DepthLimits.max_residual,
            "Maximum normalized residual of a static point, in standard deviations; points farther off their epipolar "
            "line are left out.",
            minimum=0.5,
            maximum=100.0,
        ),
        "refine": Declaration(
            DepthLimits.refine, "Correct the measured rotation and direction by the flow before triangulating."
        ),
    }

    def __init__(self) -> None:
        super().__init__("depth_from_motion")
        self._points = self.output(PointCloud2, "~/points")
        self._image = self.output(Image, "~/image")
        self._info = self.output(CameraInfo, "~/camera_info")
        self._coverage = 0.0

    def process_motion(self, pair: PublishedFlow, motion: CameraMotion | None) -> None:
        """Triangulate and publish."""
        assert motion is not None and pair.camera is not None
        limits = DepthLimits(**{name: self.value(name) for name in DepthLimits.__dataclass_fields__})
        matches = self.matches(pair)
        estimate = depth_from_motion(matches, motion, limits)
        good = np.isfinite(estimate.depth)
        self._coverage = float(good.mean())
        points = estimate.points[good]
        if self._points.get_subscription_count():
            values = np.column_stack((points, matches.confidence[good], estimate.sigma[good]))
            self.publish(self._points, point_cloud(pair.header, CLOUD_FIELDS, values))
        if self._image.get_subscription_count() or self._info.get_subscription_count():
            info = coarse_camera_info(pair.camera, pair.header, matches.stride)
            image = depth_image(points, np.array(info.k).reshape(3, 3), Size(info.width, info.height))
            self.publish(self._info, info)
            self.publish(self._image, image_message(pair.header, image))

    def diagnostic_values(self) -> dict[str, str]:
        """Add the share of the view with a known depth."""
        return {**super().diagnostic_values(), "coverage": f"{self._coverage:.3f}"}


def main(arguments: list[str] | None = None) -> int:
    """Run the node."""
    return run(DepthFromMotionNode, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())

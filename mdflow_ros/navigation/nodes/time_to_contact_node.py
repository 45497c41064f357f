# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""time_to_contact: seconds until an object in view reaches the camera, for each sector of the view, without odometry.

Inputs: mdflow/flow, mdflow/confidence, mdflow/camera_info, mdflow/previous_stamp of the flow node. Outputs:
~/seconds and ~/sector_confidence (32FC1 images of rows x columns sectors, header of the newer image; infinite where
nothing approaches, NaN where it is unknown), ~/nearest (std_msgs/Float32, the shortest time of a confident sector on
the robot's path; NaN where no sector is known there) and ~/stop (std_msgs/Bool: becomes true when ~/nearest is below
threshold, and false hold seconds after the sectors that caused it are clear).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, Float32

from mdflow_ros.core.stamps import NANOSECONDS
from mdflow_ros.navigation.nodes.consumer import CALIBRATED, Consumer, PublishedFlow, run
from mdflow_ros.navigation.self_motion import self_motion
from mdflow_ros.navigation.time_to_contact import Sectors, TimeToContact, nearest_contact, time_to_contact
from mdflow_ros.navigation.timed_values import MAX_LATE
from mdflow_ros.node.messages import image_message
from mdflow_ros.node.parameters import Declaration


class TimeToContactNode(Consumer):
    """Publishes the time to contact."""

    PARAMETERS: ClassVar[Mapping[str, Declaration]] = {
        **CALIBRATED,
        "columns": Declaration(Sectors.columns, "Sectors side by side.", minimum=1, maximum=32),
        "rows": Declaration(Sectors.rows, "Sectors one above the other.", minimum=1, maximum=32),
        "top": Declaration(
            Sectors.top, "Upper edge of the sectors, as a share of the image's height.", minimum=0.0, maximum=1.0
        ),
        "bottom": Declaration(
            Sectors.bottom,
            "Lower edge of the sectors, as a share of the image's height; the floor below would count as an obstacle.",
            minimum=0.0,
            maximum=1.0,
        ),
        "path_width": Declaration(
            0.5,
            "Share of the image's width, in the middle, that is the robot's path, for ~/nearest and ~/stop.",
            minimum=0.0,
            maximum=1.0,
        ),
        "derotate": Declaration(True, "Remove the camera's rotation first, estimated from the flow."),
        "threshold": Declaration(1.5, "~/stop is true below this time, seconds.", minimum=0.0, maximum=60.0),
        "min_certainty": Declaration(
            0.99, "Minimum probability that a sector approaches for it to count.", minimum=0.5, maximum=1.0
        ),
        "hold": Declaration(
            0.3, "~/stop stays true for this long after the path is clear, seconds.", minimum=0.0, maximum=60.0
        ),
    }

    def __init__(self) -> None:
        super().__init__("time_to_contact")
        self._seconds = self.output(Image, "~/seconds")
        self._confidence = self.output(Image, "~/sector_confidence")
        self._nearest = self.output(Float32, "~/nearest")
        self._stop = self.output(Bool, "~/stop")
        self._stop_until = self._newest = -math.inf
        self._near = np.zeros((0, 0), bool)
        self._last = math.nan

    def process(self, pair: PublishedFlow) -> None:
        """Measure the time to contact and publish it."""
        assert pair.camera is not None
        names = ("columns", "rows", "top", "bottom", "min_confidence")
        sectors = Sectors(**{name: self.value(name) for name in names})
        matches = self.matches(pair)
        rotation = np.eye(3)
        if self.value("derotate"):
            found = self_motion(matches, sectors.min_confidence)
            rotation = found.camera.motion.rotation if found else rotation
        contact = time_to_contact(matches, rotation, pair.interval, sectors, pair.backward)
        path = contact.middle(self.value("path_width"))
        self._last = nearest_contact(path, self.value("min_certainty"))
        stop = self._must_stop(path, pair.newer / NANOSECONDS)
        self.publish(self._seconds, image_message(pair.header, contact.seconds.astype(np.float32)))
        self.publish(self._confidence, image_message(pair.header, contact.confidence.astype(np.float32)))
        self.publish(self._nearest, Float32(data=self._last))
        self.publish(self._stop, Bool(data=stop))
        if not path.known.any():
            raise ValueError(
                "no sector on the robot's path has enough confident flow: ~/nearest is NaN, and ~/stop stays as it was"
            )

    def _must_stop(self, contact: TimeToContact, now: float) -> bool:
        """Return ``~/stop`` at the time ``now``, seconds. A near sector stays near until it is clear."""
        certainty, threshold = self.value("min_certainty"), self.value("threshold")
        near = (contact.confidence >= certainty) & (contact.seconds < threshold)
        clear = contact.later_than(threshold) >= certainty
        if now < self._newest - MAX_LATE / NANOSECONDS:  # the time jumped back
            self._near, self._stop_until = np.zeros_like(near), -math.inf
        elif self._near.shape != near.shape:  # other sectors: near until each is seen to be clear
            self._near = np.full(near.shape, self._near.any())
        self._newest = now
        self._near = near | (self._near & ~clear)
        if self._near.any():
            self._stop_until = now + self.value("hold")
        return now <= self._stop_until

    def diagnostic_values(self) -> dict[str, str]:
        """Add the shortest time to contact."""
        return {"nearest_seconds": f"{self._last:.2f}"}


def main(arguments: list[str] | None = None) -> int:
    """Run the node."""
    return run(TimeToContactNode, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Get the height over the ground from a downward range finder."""

from __future__ import annotations

import math

from sensor_msgs.msg import Range

from mdflow_ros.core.stamps import NANOSECONDS
from mdflow_ros.node.messages import stamp_of

MAX_RANGE_AGE = 0.5
"""Maximum time between an image and the range that is used for it, in seconds."""


class HeightUnknown(ValueError):
    """The height over the ground is not known; the text says why."""


class GroundRange:
    """The newest message of a range finder."""

    def __init__(self) -> None:
        self._stamp = 0
        self._distance: float | None = None
        self.is_received = False
        """Whether a message was received. From then on the fixed height is not used, even if the messages stop."""

    def add(self, message: Range) -> None:
        """Take a message. An infinite or NaN range means that the ground is out of reach (REP 117); 0 is invalid."""
        # Some drivers leave both limits at 0.
        has_limits = message.max_range > message.min_range
        within = message.range > 0 and (not has_limits or message.min_range <= message.range <= message.max_range)
        self._distance = message.range if math.isfinite(message.range) and within else None
        self._stamp, self.is_received = stamp_of(message.header), True

    def height(self, stamp: int) -> float:
        """Return the height in meters at the stamp of an image, in ns.

        Raises:
            HeightUnknown: the ground is out of the sensor's reach, or the stamp of the range is far from the image's.
        """
        age = (stamp - self._stamp) / NANOSECONDS
        if abs(age) > MAX_RANGE_AGE:
            raise HeightUnknown(
                f"the newest range and the image are {abs(age):.3g} s apart: is range still published, by the same "
                "clock?"
            )
        if self._distance is None:
            raise HeightUnknown("the range is 0, infinite, NaN, or outside its limits min_range and max_range")
        return self._distance

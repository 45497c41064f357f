# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Skip images of a camera that is faster than the maximum rate."""

from __future__ import annotations

from mdflow_ros.core.frame_pairing import NANOSECONDS

TOLERANCE = 0.05
"""Images may come earlier by this share of the period: a camera's clock jitters."""


class RateLimit:
    """Accepts images at a limited rate, by their stamps."""

    def __init__(self) -> None:
        self._last: int | None = None

    def accepts(self, stamp: int, max_rate: float) -> bool:
        """Tell whether to process the image with this stamp.

        Args:
            stamp: of the image, in nanoseconds. One that does not go forward is accepted: another check judges it.
            max_rate: images per second; 0 accepts all.
        """
        elapsed = None if self._last is None else stamp - self._last
        if max_rate > 0 and elapsed is not None and 0 < elapsed < (1 - TOLERANCE) / max_rate * NANOSECONDS:
            return False
        self._last = stamp
        return True

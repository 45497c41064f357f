# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Skip images of a camera that is faster than the maximum rate."""

from __future__ import annotations

from mdflow_ros.core.stamps import NANOSECONDS

TOLERANCE = 0.05
"""Images may come earlier by this share of the period: a camera's clock jitters."""


class RateLimit:
    """Accepts images at a limited rate, by their stamps.

    Due times are evenly spaced. A late image does not shift the due times after it, so jitter costs a camera at about
    the maximum rate no images, and a faster camera is slowed down to the maximum rate on average. After a pause of
    three periods, the due times start anew.
    """

    def __init__(self) -> None:
        self._last = 0
        self._due: float | None = None

    def accepts(self, stamp: int, max_rate: float) -> bool:
        """Tell whether to process the image with this stamp.

        Args:
            stamp: of the image, in nanoseconds. One that repeats or goes back is accepted; `FramePairer` rejects it.
            max_rate: images per second; 0 accepts all.
        """
        if max_rate <= 0:
            self._due = None
            return True
        period = NANOSECONDS / max_rate
        if self._due is None or stamp <= self._last:
            self._due = stamp + period
        else:
            due = min(self._due, self._last + period)  # the maximum rate may have been raised
            if stamp < due - TOLERANCE * period:
                return False
            after_pause = stamp >= due + 2 * period
            self._due = stamp + period if after_pause else max(due + period, stamp)
        self._last = stamp
        return True

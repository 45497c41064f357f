# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Times of recording that never go back."""

from __future__ import annotations

import time
from collections.abc import Callable

from mdflow_ros.core.stamps import NANOSECONDS

MIN_SET_BACK = NANOSECONDS // 20
"""The clock counts as set back if it went back by more, in ns; two readings of one moment differ by less."""


class RecordingClock:
    """A clock that continues when the computer's clock is set back, as a time server may do.

    Bags are read in the order of these times: frames from before and after the change would be mixed up.

    Args:
        report: gets a line when the clock was set back.
    """

    def __init__(self, report: Callable[[str], object]) -> None:
        self._report = report
        self._most_ahead = _ahead()
        self._set_back = 0

    def time(self, received: int) -> int:
        """Return the time of recording of a message, in ns.

        Args:
            received: when it came, just now, by the computer's clock, in ns.
        """
        ahead = _ahead()
        self._most_ahead = max(self._most_ahead, ahead)
        set_back = self._most_ahead - ahead
        if set_back - self._set_back > MIN_SET_BACK:
            self._report(
                f"the clock of this computer was set back by {(set_back - self._set_back) / NANOSECONDS:.3g} s: "
                "recording times continue without a jump; header.stamp does not"
            )
        self._set_back = set_back if set_back > MIN_SET_BACK else 0
        return received + self._set_back


def _ahead() -> int:
    """Return how far the computer's clock is ahead of the monotonic one, which is never set, in ns."""
    return time.time_ns() - time.monotonic_ns()

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Recording times that never go back."""

from __future__ import annotations

import time
from collections.abc import Callable

from mdflow_ros.core.stamps import NANOSECONDS

MIN_SET_BACK = NANOSECONDS // 20
"""The clock counts as set back if it goes back by more than this, in ns; two simultaneous readings differ by less."""


class RecordingClock:
    """A clock that continues when the computer's clock is set back, for example by a time server.

    Bags are read in the order of these times, so times that go back would mix up frames from before and after.

    Args:
        report: called with a line when the clock was set back.
    """

    def __init__(self, report: Callable[[str], object]) -> None:
        self._report = report
        self._most_ahead = _ahead()
        self._set_back = 0

    def time(self, received: int) -> int:
        """Return the recording time of a message that has just been received, in ns.

        Args:
            received: its receive time by the computer's clock, in ns.
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

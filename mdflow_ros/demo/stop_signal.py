# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""End a process at a moment of its own choice after Ctrl-C."""

from __future__ import annotations

import signal
from types import FrameType


class StopSignal:
    """Remembers SIGINT and SIGTERM instead of interrupting whatever runs at that moment.

    It takes the place of rclpy's signal handlers, which invalidate every publisher at once: give
    ``signal_handler_options=SignalHandlerOptions.NO`` to ``rclpy.init``. It also works where a shell started the
    process in the background, with SIGINT ignored.

    Attributes:
        requested: True from the first signal on.
    """

    def __init__(self) -> None:
        self.requested = False
        signal.signal(signal.SIGINT, self._request)
        signal.signal(signal.SIGTERM, self._request)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Let a program finish cleanly after Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType


class StopSignal:
    """Remembers SIGINT, SIGTERM and SIGHUP instead of interrupting the code that runs at that moment.

    It replaces rclpy's signal handlers, which invalidate every publisher at once: pass
    ``signal_handler_options=SignalHandlerOptions.NO`` to ``rclpy.init``. It also works where a shell started the
    process in the background with SIGINT ignored. SIGHUP stays ignored where nohup ignores it. Create it in the main
    thread.

    Args:
        on_request: called at each signal with its name, such as ``SIGTERM``.

    Attributes:
        requested: True after the first signal.
    """

    def __init__(self, on_request: Callable[[str], None] | None = None) -> None:
        self.requested = False
        self._on_request = on_request
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._request)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if self._on_request is not None:
            self._on_request(signal.Signals(number).name)

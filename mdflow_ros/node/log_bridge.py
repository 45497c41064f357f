# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Forward the log of the ROS-free modules to ROS."""

from __future__ import annotations

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger


class LogBridge(logging.Handler):
    """Passes Python log records to a ROS logger."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record at the corresponding ROS level."""
        text = self.format(record)
        # rclpy ties a severity to a line of code, so each level needs its own call.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)

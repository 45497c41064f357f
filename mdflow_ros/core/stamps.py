# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Times of messages in nanoseconds."""

from __future__ import annotations

from typing import Protocol

NANOSECONDS = 1_000_000_000
"""Nanoseconds per second."""


class Stamp(Protocol):
    """A ``builtin_interfaces/Time``, of ROS or of rosbags."""

    sec: int
    nanosec: int


def nanoseconds(stamp: Stamp) -> int:
    """Return a time in nanoseconds."""
    return int(stamp.sec * NANOSECONDS + stamp.nanosec)

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Sentences of /diagnostics."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

from mdflow_ros.node.status import describe_stamp_age


@pytest.mark.parametrize(("age_ms", "text"), [(3_600_000.0, "3600 s before it"), (-90_000.0, "90 s after it")])
def test_stamps_of_another_clock_are_before_or_after_this_one(age_ms: float, text: str) -> None:
    assert describe_stamp_age(age_ms) == f"header.stamp is {text}, so the latency is unknown"

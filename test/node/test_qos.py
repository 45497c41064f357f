# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from mdflow_ros.node.qos import matching_qos


def test_subscribes_as_strictly_as_all_publishers_allow():
    reliable, best_effort = (QoSProfile(depth=1, reliability=kind) for kind in ReliabilityPolicy if kind in (1, 2))
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    assert matching_qos([reliable, reliable], 5).reliability == ReliabilityPolicy.RELIABLE
    assert matching_qos([reliable, best_effort], 5).reliability == ReliabilityPolicy.BEST_EFFORT
    assert matching_qos([latched], 5).durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert matching_qos([latched, reliable], 5).durability == DurabilityPolicy.VOLATILE
    assert matching_qos([], 5).reliability == ReliabilityPolicy.BEST_EFFORT

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of packages that pip does not have: stand-ins with exactly the fields of their .msg files."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

from std_msgs.msg import Header

from mdflow_ros.navigation.moving_objects import MovingObject
from mdflow_ros.navigation.nodes import moving_objects_node, px4_optical_flow_node


def message_type(**defaults: Any) -> type:
    """A class with these fields and no others; a default that is a class is made anew for each message."""

    def make(self: Any, **values: Any) -> None:
        for name, default in {**defaults, **values}.items():
            setattr(self, name, default() if isinstance(default, type) else default)

    return type("Message", (), {"__slots__": tuple(defaults), "__init__": make})


# px4_msgs/msg/SensorOpticalFlow.msg, PX4 1.13 to 1.18
SENSOR_OPTICAL_FLOW = message_type(
    timestamp=0,
    timestamp_sample=0,
    device_id=0,
    pixel_flow=list,
    delta_angle=list,
    delta_angle_available=False,
    distance_m=0.0,
    distance_available=False,
    integration_timespan_us=0,
    quality=0,
    error_count=0,
    max_flow_rate=0.0,
    min_ground_distance=0.0,
    max_ground_distance=0.0,
    mode=0,
)


@pytest.mark.parametrize("known", [True, False])
def test_px4_gets_angles_in_its_axes_and_says_what_is_unknown(monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    monkeypatch.setattr(px4_optical_flow_node, "SensorOpticalFlow", SENSOR_OPTICAL_FLOW)
    pair = SimpleNamespace(older=5_000_000_000, newer=5_050_000_000)
    turned, height = (np.array([0.1, 0.2, 0.3]), 1.5) if known else (None, None)
    arguments = np.array([0.02, -0.03]), turned, height, 0.5
    message = px4_optical_flow_node.sensor_message(pair, 5_070_000_000, *arguments)  # type: ignore[arg-type]
    assert (message.timestamp_sample, message.integration_timespan_us, message.quality) == (5_050_000, 50_000, 128)
    assert message.timestamp == 5_070_000
    without_clock = px4_optical_flow_node.sensor_message(pair, 0, *arguments)  # type: ignore[arg-type]
    assert without_clock.timestamp == 5_050_000
    assert message.pixel_flow == [0.02, -0.03]
    assert (message.delta_angle_available, message.distance_available) == (known, known)
    if known:
        assert message.delta_angle == [0.1, -0.2, -0.3] and message.distance_m == 1.5
    else:
        assert np.isnan([*message.delta_angle, message.distance_m]).all()


def test_px4_gets_a_height_of_zero_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(px4_optical_flow_node, "SensorOpticalFlow", SENSOR_OPTICAL_FLOW)
    pair = SimpleNamespace(older=5_000_000_000, newer=5_050_000_000)
    message = px4_optical_flow_node.sensor_message(pair, 0, np.zeros(2), None, 0.0, 0.5)  # type: ignore[arg-type]
    assert (message.distance_m, message.distance_available) == (0.0, True)


# vision_msgs 4, of Humble and later
HYPOTHESIS = message_type(class_id="", score=0.0)
CENTER = message_type(position=message_type(x=0.0, y=0.0), theta=0.0)
BOX = message_type(center=CENTER, size_x=0.0, size_y=0.0)
VISION_MESSAGES = {
    "ObjectHypothesisWithPose": message_type(hypothesis=HYPOTHESIS, pose=object),
    "Detection2D": message_type(header=Header, results=list, bbox=BOX, id=""),
    "Detection2DArray": message_type(header=Header, detections=list),
}


def test_boxes_have_their_center_size_and_score(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in VISION_MESSAGES.items():
        monkeypatch.setattr(moving_objects_node, name, kind, raising=False)
    header = Header(frame_id="camera")
    message = moving_objects_node.detections_message(header, [MovingObject(10, 20, 30, 50, 0.75)])
    (detection,) = message.detections
    center = detection.bbox.center.position
    assert (center.x, center.y, detection.bbox.size_x, detection.bbox.size_y) == (25.0, 45.0, 30.0, 50.0)
    assert message.header is header and detection.header is header
    (result,) = detection.results
    assert (result.hypothesis.class_id, result.hypothesis.score) == ("moving", 0.75)

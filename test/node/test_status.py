# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What /diagnostics says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CameraInfo

from mdflow_ros.core.frame_pairing import CameraFrame, FramePairer
from mdflow_ros.node import status
from mdflow_ros.node.diagnostics import FlowCounters
from mdflow_ros.node.status import StatusReporter, describe_stamp_age

NOW = 100.0
"""What the monotonic clock says, seconds."""


class Robot:
    """Stand-ins for the parts of a node that works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(status, "time", SimpleNamespace(monotonic=lambda: NOW))
        self.clock, self.parameters, self.published = 0, {"use_sim_time": False}, []
        self.names, self.warnings = [("mdflow", "/")], list[str]()
        node: Any = SimpleNamespace(
            create_publisher=lambda *_: SimpleNamespace(publish=self.published.append),
            get_clock=lambda: SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=self.clock, to_msg=Time)),
            get_parameter=lambda name: SimpleNamespace(value=self.parameters[name]),
            get_logger=lambda: SimpleNamespace(warning=lambda text, **_: self.warnings.append(text)),
            get_node_names_and_namespaces=lambda: self.names,
            get_name=lambda: "mdflow",
            get_namespace=lambda: "/",
            get_fully_qualified_name=lambda: "/mdflow",
        )
        self.counters, self.outputs = FlowCounters(), SimpleNamespace(has_subscribers=lambda: True)
        self.counters.last_frame_time, self.counters.last_pair_has_contrast = NOW - 4.9, True
        self.counters.inference_ms.add(20.0, NOW)
        self.pipeline: Any = SimpleNamespace(
            pairer=FramePairer(0.5), estimator=None, failure=None, calibration_error=""
        )
        image = SimpleNamespace(topic="/image", messages_lost=7)
        self.camera: Any = SimpleNamespace(
            image=image,
            camera_info=None,
            camera_info_topic="/camera_info",
            explain_silence=lambda seconds: f"no image for {seconds:.0f} s",
        )
        outputs: Any = self.outputs
        self.reporter = StatusReporter(node, self.counters, self.pipeline, self.camera, outputs)

    def push_frames_without_stamp(self, count: int) -> None:
        for _ in range(count):
            self.pipeline.pairer.push(CameraFrame(np.zeros((64, 64, 3), np.uint8), 0, "camera", "rgb8"))

    def says(self) -> str:
        self.reporter._look_for_duplicate_name()
        level, summary = self.reporter._status()
        return f"{level[0]} {summary}"


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch) -> Robot:
    return Robot(monkeypatch)


def test_of_several_causes_the_one_that_explains_the_others_is_named(robot: Robot) -> None:
    assert robot.says() == "0 flowing"
    robot.counters.last_pair_has_contrast = False
    assert robot.says().startswith("1 the images show no contrast")
    robot.names *= 2
    assert robot.says().startswith("1 another node has the same name")
    robot.push_frames_without_stamp(5)
    assert robot.says().startswith("1 another node has the same name"), "a few resets are normal"
    robot.push_frames_without_stamp(1)
    assert robot.says().startswith("1 no pair among the last 6 images (zero_stamp): header.stamp is zero")
    robot.counters.last_refusal = "the image is cut off"
    assert robot.says() == "2 the image is cut off"
    robot.pipeline.failure = "inference failed once"
    assert robot.says() == "2 inference failed once"
    robot.counters.last_frame_time = NOW - 5.1
    assert robot.says() == "1 no image for 5 s"
    robot.outputs.has_subscribers = lambda: False
    assert robot.says() == "0 nobody subscribes"


def test_the_status_is_why_the_node_idles(robot: Robot) -> None:
    for not_ready, level, message, reason in (
        ((DiagnosticStatus.WARN, "not active"), DiagnosticStatus.WARN, "not active", "not active"),
        (None, DiagnosticStatus.OK, "flowing", ""),
    ):
        robot.reporter.publish(not_ready, dropped=3)
        (published,) = robot.published[-1].status
        values = {value.key: value.value for value in published.values}
        assert (published.level, published.message, values["idle_because"]) == (level, message, reason)
        assert (published.hardware_id, values["frames_dropped"], values["messages_lost"]) == ("/image", "3", "7")


def test_a_calibration_that_is_missing_or_does_not_fit_is_named(robot: Robot) -> None:
    assert robot.reporter._camera_info_state() == "nothing received on /camera_info"
    robot.camera.camera_info = CameraInfo()
    assert robot.reporter._camera_info_state() == "received"
    robot.pipeline.calibration_error = "camera_info describes 160x128 pixels"
    assert robot.reporter._camera_info_state() == "ignored: camera_info describes 160x128 pixels"


def test_a_duplicate_name_is_logged_once_each_time_it_comes(robot: Robot) -> None:
    for count, logged in ((1, 0), (2, 1), (2, 1), (1, 1), (2, 2)):
        robot.names = [("mdflow", "/")] * count + [("mdflow", "/left")]
        robot.reporter._look_for_duplicate_name()
        assert len(robot.warnings) == logged


def test_a_clock_that_nobody_publishes_is_logged_after_a_while(robot: Robot) -> None:
    robot.parameters["use_sim_time"] = True
    assert robot.reporter._clock_state() == "waiting for /clock" and not robot.warnings
    robot.reporter._start_time = NOW - 5.1
    assert robot.reporter._clock_state() == "waiting for /clock" and "nobody publishes /clock" in robot.warnings[0]


def test_a_node_without_pairs_of_late_waits_for_one(robot: Robot) -> None:
    robot.counters.inference_ms = FlowCounters().inference_ms
    assert robot.says() == "0 waiting for a pair"
    robot.counters.last_frame_time = None
    assert robot.says() == "1 no image for 5 s"


def test_the_latency_is_known_by_stamps_of_the_nodes_own_clock_alone(robot: Robot) -> None:
    robot.clock = 200_000_000_000
    assert robot.reporter.latency_ms(robot.clock - 30_000_000) == 30
    assert robot.reporter._clock_state() == "system time"
    for seconds, side in ((61, "before"), (-61, "after")):
        assert robot.reporter.latency_ms(robot.clock - seconds * 1_000_000_000) is None
        assert robot.reporter._clock_state().startswith(f"system time; header.stamp is 61 s {side} it")
    robot.clock, robot.parameters["use_sim_time"] = 0, True
    assert robot.reporter.latency_ms(1) is None and robot.reporter._clock_state() == "waiting for /clock"


@pytest.mark.parametrize(("age_ms", "text"), [(3_600_000.0, "3600 s before it"), (-90_000.0, "90 s after it")])
def test_stamps_of_another_clock_are_before_or_after_this_one(age_ms: float, text: str) -> None:
    assert describe_stamp_age(age_ms) == f"header.stamp is {text}, so the latency is unknown"

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What the recorder makes of single messages: pictures and measurements."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image
from shifted_images import textured_image

from mdflow_ros.demo import flow_recorder
from mdflow_ros.demo.flow_recorder import FlowRecorder


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[FlowRecorder]:
    rclpy.init(domain_id=74)
    recorder = FlowRecorder(tmp_path)
    yield recorder
    recorder.destroy_node()
    rclpy.try_shutdown()


def status(name: str, **values: object) -> DiagnosticArray:
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticArray(status=[DiagnosticStatus(name=name, values=pairs)])


def test_only_the_status_of_this_camera_and_of_its_flow_node_counts(
    recorder: FlowRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    publishers = {"/image": ("/left", "camera_player"), "/mdflow/flow": ("/", "mdflow")}
    monkeypatch.setattr(
        recorder,
        "get_publishers_info_by_topic",
        lambda topic: [SimpleNamespace(node_namespace=publishers[topic][0], node_name=publishers[topic][1])],
    )
    assert not recorder.is_finished(60.0)
    recorder._on_diagnostics(status("/left/camera_player", frames_published=30))
    recorder._on_diagnostics(status("/mdflow: flow", pairs_computed=29, backend="openvino"))
    recorder._on_diagnostics(status("/right/camera_player", frames_published=50))
    recorder._on_diagnostics(status("/right/mdflow: flow", pairs_computed=49, backend="onnxruntime"))
    recorder._on_diagnostics(status("driver", frames_published="12 frames", pairs_computed="?"))
    measurements = recorder.measurements
    assert (measurements.frames_published, measurements.pairs_computed) == (30, 29)
    assert measurements.backend == "openvino"


def test_twelve_bits_are_drawn_with_their_full_contrast(recorder: FlowRecorder) -> None:
    gray = textured_image(64, 96)[..., 0].astype(np.uint16)
    recorder._on_image(Image(height=64, width=96, encoding="mono16", step=192, data=(gray * 8).tobytes()))
    (drawn,) = recorder._images.values()
    assert drawn.rgb.max() > 200 and np.ptp(drawn.rgb) > 150


def test_an_error_in_a_callback_does_not_end_the_recorder(
    recorder: FlowRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def spin_once(self: SingleThreadedExecutor, timeout_sec: float) -> None:
        calls.append(1)
        raise ValueError("hostile")

    monkeypatch.setattr(SingleThreadedExecutor, "spin_once", spin_once)
    stop = SimpleNamespace(requested=False)
    monkeypatch.setattr(recorder, "is_finished", lambda timeout: len(calls) == 3)
    flow_recorder._record(recorder, SimpleNamespace(timeout=60.0, duration=None), stop)
    assert len(calls) == 3

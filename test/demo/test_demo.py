# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The demo's player and recorder as real processes over DDS, around a stand-in for the node."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from places import ROOT

from mdflow_ros.core.flow_color import flow_to_color
from mdflow_ros.demo.flow_recorder import judge
from mdflow_ros.demo.measurements import Measurements

STAND_IN = ROOT / "test" / "support" / "demo_stand_in.py"
FRAMES = 30
WIDTH, HEIGHT = 96, 64
ISSUE_KEYS = {
    "frames_published",
    "pairs_received",
    "rate_hz",
    "latency_ms_p50",
    "latency_ms_p95",
    "dropped",
    "backend",
    "model_sha256",
    "mean_confidence",
}
domains = itertools.count(os.getpid())


class Processes:
    """Starts processes on a separate ROS domain, and ends those that still run at the end."""

    def __init__(self) -> None:
        self.environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(40 + next(domains) % 20),
            # Shared memory alone, so that nothing leaves this machine; LOCALHOST would make Fast DDS ignore that.
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
            "FASTDDS_BUILTIN_TRANSPORTS": "SHM?sockets_size=16MB",
        }
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *command: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.running.append(process)
        return process

    def node(self) -> subprocess.Popen[str]:
        return self.start(STAND_IN, "--ros-args", "-r", "image:=camera/image_raw")

    def player(self, source: Path, *options: object) -> subprocess.Popen[str]:
        return self.start("-m", "mdflow_ros.demo.camera_player", source, *options)

    def recorder(self, output: Path, *options: object) -> subprocess.Popen[str]:
        remap = ("--ros-args", "-r", "image:=camera/image_raw")
        return self.start("-m", "mdflow_ros.demo.flow_recorder", "--output", output, *options, *remap)

    def end(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self.running:
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


@pytest.fixture
def processes():
    processes = Processes()
    yield processes
    processes.end()


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """A folder of images, 50 ms apart by name."""
    folder = tmp_path_factory.mktemp("clip")
    texture = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    for index in range(FRAMES):
        cv2.imwrite(str(folder / f"{1_684_437_740_000_000_000 + index * 50_000_000}.png"), np.roll(texture, index, 1))
    return folder


def finish(process: subprocess.Popen[str], timeout: float = 40.0) -> tuple[int, str]:
    output, _ = process.communicate(timeout=timeout)
    return process.returncode, output


def test_a_whole_run_is_recorded(processes, clip, tmp_path):
    processes.node()
    recorder = processes.recorder(tmp_path, "--minimum-share", 0.95)
    player = processes.player(clip, "--wait-for-subscribers", 2)
    code, text = finish(recorder)
    assert code == 0, text
    assert finish(player)[0] == 0

    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary.keys() >= ISSUE_KEYS
    assert summary["frames_published"] == FRAMES
    assert summary["pairs_received"] == summary["pairs_computed"] == FRAMES - 1
    assert summary["dropped"] == 0
    assert summary["backend"] == "stand-in"
    assert summary["model_sha256"] == "0123456789abcdef" * 4
    assert summary["mean_confidence"] == pytest.approx(0.75)
    assert 5.0 < summary["rate_hz"] < 40.0, "images are 50 ms apart"
    assert 10.0 <= summary["latency_ms_p50"] <= summary["latency_ms_p95"]

    video = cv2.VideoCapture(str(tmp_path / "flow.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES - 1
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "contact_sheet.png")), cv2.COLOR_BGR2RGB)
    color = flow_to_color(np.float32([[[7, -3]]]), float(np.hypot(7, 3)))[0, 0]
    flow_colored = (sheet == color).all(axis=2).mean()
    assert 0.2 < flow_colored < 0.34, "a third of the sheet, captions aside, shows the flow"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contact_sheet.png", "flow.mp4", "summary.json"]


def test_nothing_received_is_a_failure_and_writes_nothing(processes, clip, tmp_path):
    recorder = processes.recorder(tmp_path, "--timeout", 4)
    processes.player(clip, "--loop", "--wait-for-subscribers", 1)
    code, text = finish(recorder)
    assert code == 1
    assert "no flow was received" in text and "only 0 images" not in text
    assert list(tmp_path.iterdir()) == []


def test_too_few_pairs_are_a_failure():
    measurements = Measurements(images_received=20, pairs_computed=19)
    for number in range(2, 20):
        measurements.add_pair(received=number * 0.1, latency=0.05, confidence=0.5, frame_number=number)
    assert judge(measurements.summary(), 0.9) is None
    assert "only 18 of 19" in (judge(measurements.summary(), 0.95) or "")
    measurements.pairs_computed = None
    assert judge(measurements.summary(), 0.0) is None
    assert "diagnostics never arrived" in (judge(measurements.summary(), 0.95) or "")


def test_a_signal_ends_player_and_recorder_with_results(processes, clip, tmp_path):
    processes.node()
    recorder = processes.recorder(tmp_path)
    player = processes.player(clip, "--loop", "--rate", 20, "--wait-for-subscribers", 2)
    for line in recorder.stdout:
        if "pairs" in line:
            break
    recorder.send_signal(signal.SIGINT)
    assert finish(recorder)[0] == 0
    assert (tmp_path / "contact_sheet.png").exists()
    player.send_signal(signal.SIGTERM)
    code, text = finish(player)
    assert code == 0, text
    assert "frames published" in text and "Traceback" not in text


def test_player_publishes_what_is_asked_for(processes, clip, monkeypatch):
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image

    for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTDDS_BUILTIN_TRANSPORTS"):
        monkeypatch.setenv(name, processes.environment[name])
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(processes.environment["ROS_DOMAIN_ID"]))
    listener = rclpy.create_node("listener", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(listener)
    images = []
    # A depth of 10 makes reliable subscribers, which a best-effort publisher would leave without images.
    listener.create_subscription(Image, "camera/image_raw", images.append, 10)
    options = ("--max-width", 48, "--frame-id", "left")
    try:
        processes.player(clip, "--reliability", "reliable", "--wait-for-subscribers", 1, *options)
        deadline = time.monotonic() + 20
        while len(images) < FRAMES and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.1)
            stamp_age = listener.get_clock().now().nanoseconds / 1e9 - images[-1].header.stamp.sec if images else 0
            assert stamp_age < 5
    finally:
        executor.shutdown()
        listener.destroy_node()
        context.shutdown()
    assert len(images) == FRAMES
    image = images[0]
    assert (image.width, image.height, image.step, image.encoding) == (48, 32, 144, "rgb8")
    assert image.header.frame_id == "left"
    first_file = cv2.cvtColor(cv2.imread(str(min(clip.iterdir()))), cv2.COLOR_BGR2RGB)
    expected = cv2.resize(first_file, (48, 32), interpolation=cv2.INTER_AREA)
    assert np.array_equal(np.frombuffer(image.data, np.uint8).reshape(32, 48, 3), expected)


def test_player_says_what_is_wrong(processes, clip):
    code, text = finish(processes.player(clip / "nothing"))
    assert code == 1 and "does not exist" in text
    damaged = clip.parent / "damaged"
    damaged.mkdir()
    (damaged / "0.png").write_bytes(b"damaged")
    code, text = finish(processes.player(damaged))
    assert code == 1 and "holds no images that can be read" in text and "7 bytes of compressed image" in text
    code, text = finish(processes.player(clip, "--max-width", 0))
    assert code == 2 and "0 is less than 1" in text and "Traceback" not in text
    code, text = finish(processes.player(clip, "--wait-for-subscribers", 1, "--wait-timeout", 0.5))
    assert code == 1 and "0 of 1 subscribers" in text


def test_recorder_refuses_a_duration_below_0(processes, tmp_path):
    code, text = finish(processes.recorder(tmp_path, "--duration", -1))
    assert code == 2 and "-1 is not a number above 0" in text


def test_measurements_count_drops_up_to_the_last_pair():
    measurements = Measurements(images_received=12)
    for number in (2, 3, 7, 10):
        measurements.add_pair(received=number * 0.1, latency=0.05, confidence=0.5, frame_number=number)
    assert measurements.dropped == 5
    assert measurements.rate() == pytest.approx(3 / 0.8)
    summary = measurements.summary()
    assert (summary["frames_published"], summary["dropped"]) == (12, 7)
    assert measurements.summary()["latency_ms_p95"] == 50.0
    measurements.frames_published = 20
    assert measurements.summary()["dropped"] == 15

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A real bag and a real clip, played by the camera player through the node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")
pytest.importorskip("rosbags", reason="needs rosbags: the extras demo or training")

from node_harness import ENVIRONMENT, Client, client, running_node
from places import SHARED
from sensor_msgs.msg import Image

DOMAIN = 26


def play(footage: Path, camera: Client) -> dict[int, np.ndarray]:
    """Play ``footage`` once, until as many flows as it has pairs have come; return its images by stamp."""
    images: dict[int, np.ndarray] = {}

    def keep(message: Image) -> None:
        pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        rgb = pixels[:, : message.width * 3].reshape(message.height, message.width, 3)
        images[stamp_of(message)] = rgb.copy()

    camera.node.create_subscription(Image, "/camera/image_raw", keep, 50)
    command = [sys.executable, "-m", "mdflow_ros.demo.camera_player", str(footage), "--rate", "1"]
    command += ["--max-width", "640", "--reliability", "reliable", "--wait-for-subscribers", "2"]
    environment = {**os.environ, **ENVIRONMENT, "ROS_DOMAIN_ID": str(DOMAIN)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as player:
        camera.spin_until(lambda: player.poll() is not None, "the player to end", patience=60)
    assert player.returncode == 0
    received = camera.received
    camera.spin_until(
        lambda: len(received["flow"]) == len(received["confidence"]) == len(images) - 1,
        f"flow and confidence of all of {len(images) - 1} pairs",
    )
    return images


def stamp_of(message: Image) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


@pytest.mark.parametrize(
    ("footage", "pairs"), [(SHARED / "bags" / "soccer_goal_12.mcap", 1), (SHARED / "clips" / "corridor", 9)]
)
def test_flow_explains_real_motion(footage: Path, pairs: int) -> None:
    if not footage.exists():
        pytest.skip(f"needs {footage.name}, which is not part of the repository")
    arguments = ["-r", "image:=/camera/image_raw", "-p", "max_frame_gap:=5.0", "-p", "inference_size:=[448, 320]"]
    arguments += [a for s in ("depth:=10", "reliability:=reliable")
                  for a in ("-p", f"qos_overrides./camera/image_raw.subscription.{s}")]  # fmt: skip
    with running_node(DOMAIN, *arguments), client(DOMAIN, outputs=("flow", "confidence")) as camera:
        images = play(footage, camera)
        flows, confidences = camera.received["flow"], camera.received["confidence"]
    assert len(flows) == len(confidences) == pairs
    stamps = sorted(images)
    for flow_message, confidence_message in zip(flows, confidences, strict=True):
        index = stamps.index(stamp_of(flow_message))
        first, second = images[stamps[index - 1]], images[stamps[index]]
        height, width = first.shape[:2]
        flow = np.frombuffer(flow_message.data, np.float32).reshape(height, width, 2)
        confidence = np.frombuffer(confidence_message.data, np.float32).reshape(height, width)
        trusted = confidence > 0.2
        assert trusted.mean() > 0.1
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        warped = cv2.remap(second, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
        before, after = (np.abs(image.astype(float) - first).mean(-1)[trusted].mean() for image in (second, warped))
        assert after < 0.6 * before

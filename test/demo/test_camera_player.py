# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""When the frames of a source are published."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

from mdflow_ros.demo import camera_player
from mdflow_ros.demo.camera_player import CameraPlayer
from mdflow_ros.demo.playback import SourceFrame

INTERVAL = 20_000_000


def frames(stamps: list[int]) -> Iterator[SourceFrame]:
    return iter([SourceFrame(np.zeros((4, 4, 3), np.uint8), stamp) for stamp in stamps])


def schedule(source: str, stamps: list[int], **options: Any) -> list[float]:
    """Return when each frame is due, in seconds from now; all frames are available at once."""
    player: Any = CameraPlayer.__new__(CameraPlayer)
    player._options = SimpleNamespace(source=source, loop=False, rate=None, **options)
    start, waiting = time.monotonic(), frames(stamps)
    return [due - start for _, due in player._schedule(next(waiting), waiting)]


def test_a_live_cameras_frames_are_due_at_once() -> None:
    assert max(schedule("0", [0] * 60)) < 0.5


def test_a_recordings_frames_keep_their_distance() -> None:
    due = schedule("drive.mp4", [INTERVAL * number for number in range(5)])
    assert np.diff(due) == pytest.approx([0.02] * 4)


def test_every_pass_of_a_loop_has_the_same_warnings_which_are_kept_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(source: str, warnings: list[str]) -> Iterator[SourceFrame]:
        warnings.append("a frame is damaged")
        yield from frames([0, INTERVAL])

    monkeypatch.setattr(camera_player, "read_frames", read)
    player: Any = CameraPlayer.__new__(CameraPlayer)
    player._options = SimpleNamespace(source="drive.mp4", loop=True, rate=1000.0)
    player._warnings = []
    waiting = read("drive.mp4", player._warnings)
    schedule = player._schedule(next(waiting), waiting)
    for _ in range(200):
        next(schedule)
    assert len(player._warnings) <= 2

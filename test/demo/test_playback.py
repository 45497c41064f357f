# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from places import SHARED

from mdflow_ros.demo.playback import CUT, read_frames
from mdflow_ros.recordings.frame import FrameSourceError

pytest.importorskip("rosbags")


def write_image(path: Path, red: int) -> None:
    cv2.imwrite(str(path), np.full((64, 96, 3), (0, 0, red), np.uint8))


def test_folder_of_stamps(tmp_path):
    for stamp, red in ((1_684_437_740_000_000_000, 10), (1_684_437_740_250_000_000, 20)):
        write_image(tmp_path / f"{stamp}.png", red)
    warnings: list[str] = []
    frames = list(read_frames(str(tmp_path), warnings))
    assert [frame.rgb[0, 0].tolist() for frame in frames] == [[10, 0, 0], [20, 0, 0]]
    assert frames[1].stamp - frames[0].stamp == 250_000_000
    assert warnings == []


def test_a_pause_parts_the_cameras_of_a_folder(tmp_path):
    for index in range(3):
        write_image(tmp_path / f"{index}_left.png", index)
        write_image(tmp_path / f"{index}_right.png", 100 + index)
    frames = list(read_frames(str(tmp_path), []))
    assert [frame.rgb[0, 0, 0] for frame in frames] == [0, 1, 2, 100, 101, 102]
    steps = np.diff([frame.stamp for frame in frames])
    assert steps[2] == CUT and steps.tolist().count(CUT) == 1 and (steps > 0).all() and frames[0].stamp == 0


def test_a_damaged_frame_is_left_out_and_told(tmp_path):
    for index in range(3):
        write_image(tmp_path / f"{index}.png", index)
    (tmp_path / "1.png").write_bytes(b"damaged")
    warnings: list[str] = []
    assert [frame.rgb[0, 0, 0] for frame in read_frames(str(tmp_path), warnings)] == [0, 2]
    assert sum("left out" in warning for warning in warnings) == 1


def test_part_of_a_split_bag_with_compressed_messages():
    bag = SHARED / "bags" / "soccer_goal_12.mcap"
    if not bag.exists():
        pytest.skip(f"needs {bag}")
    frames = list(read_frames(str(bag), []))
    assert [frame.rgb.shape for frame in frames] == [(480, 640, 3)] * 2
    assert frames[1].stamp - frames[0].stamp == pytest.approx(33.3e6, rel=0.01)


def test_what_cannot_be_read_says_why(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    (tmp_path / "empty").mkdir()
    for source, reason in (
        (tmp_path / "nothing.mp4", "does not exist"),
        (text, "no video"),
        (tmp_path / "empty", "empty"),
        (93, "cannot be opened"),
        ("/dev/video93", "camera 93 cannot be opened"),
        ("99999999999999999999", "does not exist"),
        ("rtsp://camera", "streams are not read"),
    ):
        with pytest.raises(FrameSourceError, match=reason):
            next(read_frames(str(source), []))

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mdflow_ros.demo.frame_sources import SourceError, read_frames

SHARED = Path(__file__).parents[2] / "shared"


def red_image(brightness: int = 255) -> np.ndarray:
    return np.full((64, 96, 3), (0, 0, brightness), np.uint8)


def test_video(tmp_path):
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, (96, 64))
    for _ in range(5):
        writer.write(red_image())
    writer.release()
    frames = list(read_frames(str(path)))
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    assert frames[0].rgb.shape == (64, 96, 3)
    assert np.allclose(frames[0].rgb[32, 48], (255, 0, 0), atol=12)


def test_folder_of_stamps_is_sorted_by_number(tmp_path):
    for stamp, brightness in ((900_000_000, 10), (1_000_000_000, 20), (1_250_000_000, 30)):
        cv2.imwrite(str(tmp_path / f"{stamp}.png"), red_image(brightness))
    frames = list(read_frames(str(tmp_path)))
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.1, 0.35])
    assert [frame.rgb[0, 0, 0] for frame in frames] == [10, 20, 30]


def test_folder_of_other_names_has_no_times(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), red_image())
    assert [frame.seconds for frame in read_frames(str(tmp_path))] == [None]


@pytest.mark.parametrize("compressed", [False, True])
def test_bag(tmp_path, compressed):
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_HUMBLE)
    image, header, time = (
        types.types[name] for name in ("sensor_msgs/msg/Image", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    writer = rosbag2.Writer(tmp_path / "bag", version=9)
    if compressed:
        writer.set_compression(rosbag2.CompressionMode.MESSAGE, rosbag2.CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/camera/image_raw", image.__msgtype__, typestore=types)
        for nanosec in (0, 500_000_000):
            message = image(
                header=header(stamp=time(sec=5, nanosec=nanosec), frame_id="camera"),
                height=1,
                width=2,
                encoding="bgr8",
                is_bigendian=0,
                step=8,
                data=np.array([0, 0, 255, 0, 255, 0, 9, 9], np.uint8),
            )
            writer.write(connection, 10**9 + nanosec, types.serialize_cdr(message, image.__msgtype__))
    frames = list(read_frames(str(tmp_path / "bag")))
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.5])
    assert frames[0].rgb.tolist() == [[[255, 0, 0], [0, 255, 0]]]


def test_part_of_a_split_bag_with_compressed_messages():
    pytest.importorskip("rosbags")
    bag = SHARED / "bags" / "soccer_goal_12.mcap"
    if not bag.exists():
        pytest.skip(f"needs {bag}")
    frames = list(read_frames(str(bag)))
    assert [frame.rgb.shape for frame in frames] == [(480, 640, 3)] * 2
    assert frames[1].seconds == pytest.approx(0.0333, abs=1e-3)


def test_what_cannot_be_read_says_why(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    bag = tmp_path / "broken.mcap"
    bag.write_bytes(b"not a bag")
    empty = tmp_path / "empty"
    empty.mkdir()
    for source, reason in (
        (tmp_path / "nothing.mp4", "no such file"),
        (text, "finds no video"),
        (bag, "broken.mcap"),
        (empty, "neither images"),
        (93, "cannot be opened"),
    ):
        with pytest.raises(SourceError, match=reason):
            next(read_frames(str(source)))

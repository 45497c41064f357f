# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from mdflow_ros.demo.flow_pictures import EvenSample, Moment, shrink_to_tile, write_contact_sheet
from mdflow_ros.demo.flow_video import FlowVideo


def moment(seconds: float, width: int = 120, height: int = 60, motion: float = 5.0) -> Moment:
    flow = np.zeros((height, width, 2), np.float32)
    flow[..., 0] = motion
    return Moment(seconds, np.full((height, width, 3), 200, np.uint8), flow, np.ones((height, width), np.float32))


def test_even_sample_covers_the_whole_run_in_bounded_memory():
    for length in (7, 100, 5000):
        sample = EvenSample(capacity=24)
        for index in range(length):
            sample.add(moment(float(index), 2, 2))
        assert len(sample._kept) < 24
        seconds = [kept.seconds for kept in sample.pick(6)]
        assert len(seconds) == 6
        steps = np.diff(seconds)
        assert steps.min() > 0 and steps.max() <= 2 * steps.min()
        assert seconds[0] < length / 6 and seconds[-1] >= length * 2 / 3


def test_even_sample_of_a_short_run_repeats_nothing():
    sample = EvenSample()
    for index in range(3):
        sample.add(moment(float(index)))
    assert [kept.seconds for kept in sample.pick(6)] == [0, 1, 2]


def test_shrinking_keeps_values_and_unknown_vectors_apart():
    flow = np.full((200, 1000, 2), 6, np.float32)
    flow[:, ::2] = np.nan
    small = shrink_to_tile(flow)
    assert small.shape[:2] == (80, 400)
    assert set(np.unique(small[np.isfinite(small)])) == {6}
    assert shrink_to_tile(small) is small


def test_video_plays_at_the_speed_of_the_run(tmp_path):
    with FlowVideo(tmp_path / "flow.mp4") as video:
        for index in range(15):
            video.add(moment(index / 8, width=120 if index < 12 else 90))  # the resolution changes on the way
        assert not (tmp_path / "flow.mp4").exists()
    with av.open(str(tmp_path / "flow.mp4")) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")  # what browsers play
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([index / 8 for index in range(15)], abs=1e-3)
    assert [path.name for path in tmp_path.iterdir()] == ["flow.mp4"]


def test_video_of_one_pair(tmp_path):
    with FlowVideo(tmp_path / "flow.mp4") as video:
        video.add(moment(0.0))
    assert cv2.VideoCapture(str(tmp_path / "flow.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 1


def test_a_video_that_an_error_ends_leaves_no_file(tmp_path):
    with pytest.raises(KeyError), FlowVideo(tmp_path / "flow.mp4") as video:
        video.add(moment(0.0))
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_contact_sheet_with_unknown_vectors(tmp_path):
    moments = [moment(float(index), motion=np.nan if index == 1 else 5.0) for index in range(3)]
    write_contact_sheet(tmp_path / "sheet.png", moments, "title", ("first line", "second line"))
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[1] > 3 * 400
    assert (sheet == (0, 0, 0)).all(axis=2).any(), "unknown flow is black"
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]

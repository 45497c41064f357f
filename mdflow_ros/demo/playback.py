# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read RGB frames from a live camera, or from any recording that training can read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.recordings.frame import FrameSourceError

CUT = 1_000_000_000
"""Pause in ns before the next video or camera of a source. It is longer than the node's default max_frame_gap."""

_CAMERA = re.compile(r"(?:/dev/video)?(\d{1,3})")


@dataclass(frozen=True)
class SourceFrame:
    """One image and its place in the recording.

    Attributes:
        rgb: ``(H, W, 3)`` uint8.
        stamp: capture time in ns, by the recording's clock; the videos of a source follow one another. 0 for a live
            camera.
    """

    rgb: NDArray[np.uint8]
    stamp: int


def is_camera(source: str) -> bool:
    """Return whether the source is a live camera: an index, or a device such as ``/dev/video0``."""
    return _CAMERA.fullmatch(source) is not None


def read_frames(source: str, warnings: list[str]) -> Iterator[SourceFrame]:
    """Read the frames of a source in order.

    Args:
        source: a camera's index or device, or the name of a recording, see `mdflow_ros.recordings.source`: the path of
            a video, a folder of images, or a bag, with ``#/topic`` if it has several cameras.
        warnings: receives a line for everything in a recording that is missing or damaged.

    Raises:
        FrameSourceError: the source does not exist, or holds nothing that can be read.
    """
    camera = _CAMERA.fullmatch(source)
    return _camera_frames(int(camera[1])) if camera else _recorded_frames(source, warnings)


def _camera_frames(index: int) -> Iterator[SourceFrame]:
    camera = cv2.VideoCapture(index)
    try:
        if not camera.isOpened():
            raise FrameSourceError(f"camera {index} cannot be opened: is it in use? `ls /dev/video*` lists the cameras")
        while True:
            found, bgr = camera.read()
            if not found:
                raise FrameSourceError(f"camera {index} stopped delivering images: is it still plugged in?")
            yield SourceFrame(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), 0)
    finally:
        camera.release()


def _recorded_frames(source: str, warnings: list[str]) -> Iterator[SourceFrame]:
    from mdflow_ros.recordings.source import parse_source  # here, because a live camera does not need its packages

    offset, last, playing = 0, 0, ""
    for stream, frame in parse_source(source).frames(warnings):
        if playing and stream != playing:
            offset = last + CUT - frame.stamp
        playing, last = stream, frame.stamp + offset
        try:
            rgb = frame.decode()
        except ValueError as error:
            warnings.append(f"{source}: a frame was left out: {error}")
            continue
        yield SourceFrame(rgb, last)

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""RGB frames of a live camera, or of any recording that training reads too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.recordings.frame import FrameSourceError

CUT = 1_000_000_000
"""Pause in ns before another video or camera of the same source: longer than the flow node's default max_frame_gap."""

_CAMERA = re.compile(r"(?:/dev/video)?(\d{1,3})")


@dataclass(frozen=True)
class SourceFrame:
    """One image and its place in the recording.

    Attributes:
        rgb: ``(H, W, 3)`` uint8.
        stamp: capture time in ns, on the recording's clock; further videos of a source follow the first one. 0 for a
            live camera.
    """

    rgb: NDArray[np.uint8]
    stamp: int


def is_camera(source: str) -> bool:
    """Tell whether the source is a live camera: its index, or its device as ``/dev/video0``."""
    return _CAMERA.fullmatch(source) is not None


def read_frames(source: str, warnings: list[str]) -> Iterator[SourceFrame]:
    """Read the frames of a source in order.

    Args:
        source: a camera's index or device, or a recording as `mdflow_ros.recordings.source` names it: the path of a
            video, of a folder of images, or of a bag, with ``#/topic`` where it has several cameras.
        warnings: gets a line for everything in a recording that is missing or damaged.

    Raises:
        FrameSourceError: there is nothing there, or nothing in it that can be read.
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
    from mdflow_ros.recordings.source import parse_source  # a live camera needs none of its packages

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

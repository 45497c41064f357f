# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Camera frames of a video file or of a folder of images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.recordings.bag_parts import natural_order
from mdflow_ros.recordings.frame import Frame, FrameSourceError, decode_compressed_image

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
# Images whose names are no time stamps are taken to follow one another at this interval, in ns.
ASSUMED_INTERVAL = 33_333_333
# File names of this many digits are time stamps; the factor makes them ns.
STAMP_UNITS = {19: 1, 16: 1_000, 13: 1_000_000}


class VideoFrames:
    """The frames of a video file, stamped with their time from its beginning.

    Raises:
        FrameSourceError: no such file, or OpenCV cannot decode it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise FrameSourceError(f"{path} does not exist")
        if not cv2.VideoCapture(str(path)).grab():
            raise FrameSourceError(f"{path} holds no video that OpenCV can decode; convert it with ffmpeg")

    def __iter__(self) -> Iterator[Frame]:
        video = cv2.VideoCapture(str(self._path))
        rate = video.get(cv2.CAP_PROP_FPS) or 1e9 / ASSUMED_INTERVAL
        index = 0
        while video.grab():
            yield Frame(round(index * 1e9 / rate), "", partial(_retrieve, video))
            index += 1


def _retrieve(video: cv2.VideoCapture) -> NDArray[np.uint8]:
    ok, image = video.retrieve()
    if not ok:
        raise ValueError("corrupt video frame")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


class ImageFrames:
    """The images of a folder in the order of their names.

    Names that are time stamps (19 digits: ns, 16: us, 13: ms, or seconds with a decimal point) are taken as such.
    If any is not, all images follow one another at 30 Hz.

    Raises:
        FrameSourceError: no such folder, or no images in it.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FrameSourceError(f"{folder} is not a folder")
        self.files = sorted(
            (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES), key=natural_order
        )
        if not self.files:
            raise FrameSourceError(f"{folder} holds no images: no file ends in {', '.join(IMAGE_SUFFIXES)}")

    def __iter__(self) -> Iterator[Frame]:
        stamps = [_stamp(path.stem) for path in self.files]
        known = None not in stamps
        for index, (path, stamp) in enumerate(zip(self.files, stamps, strict=True)):
            yield Frame(stamp if known and stamp else index * ASSUMED_INTERVAL, "", partial(_read, path))


def _stamp(name: str) -> int | None:
    seconds, point, fraction = name.partition(".")
    if point and seconds.isdigit() and fraction.isdigit() and (len(fraction) > 1 or len(seconds) > 8):
        return int(seconds) * 10**9 + int(fraction.ljust(9, "0")[:9])
    unit = STAMP_UNITS.get(len(name)) if name.isdigit() else None
    return int(name) * unit if unit else None


def _read(path: Path) -> NDArray[np.uint8]:
    return decode_compressed_image(path.read_bytes())

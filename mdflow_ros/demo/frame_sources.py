# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read RGB frames from a video file, a camera, a folder of images or a rosbag, one at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.image_decoding import CorruptImage, UnsupportedEncoding, decode_image

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
IMAGE_TYPES = {"sensor_msgs/msg/Image", "sensor_msgs/Image"}
BAG_SUFFIXES = {".mcap", ".db3"}
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class SourceError(ValueError):
    """The source cannot be read; the text says why and what to do."""


@dataclass(frozen=True)
class Frame:
    """One image and its place in the recording.

    Attributes:
        rgb: ``(H, W, 3)`` uint8.
        seconds: capture time since the recording's first frame; ``None`` where the recording does not say, and for
            a live camera.
    """

    rgb: NDArray[np.uint8]
    seconds: float | None


def is_camera(source: str) -> bool:
    """Tell whether the source is the index of a live camera."""
    return source.isdecimal()


def read_frames(source: str) -> Iterator[Frame]:
    """Read the frames of a source in order.

    Args:
        source: a camera index; or the path of a video file, of a folder of images (capture order is name order; names
            that are all numbers are nanoseconds), of a rosbag2 folder, or of one ``.mcap`` or ``.db3`` file.

    Raises:
        SourceError: there is nothing there, or nothing in it that can be read.
    """
    path = Path(source)
    if is_camera(source):
        return _camera_frames(int(source))
    if not path.exists():
        raise SourceError(
            f"{source}: no such file or folder. Give a video, a folder of images, a bag or a camera index."
        )
    if path.suffix in BAG_SUFFIXES or (path / "metadata.yaml").exists():
        return _bag_frames(path)
    return _folder_frames(path) if path.is_dir() else _video_frames(path)


def _camera_frames(index: int) -> Iterator[Frame]:
    capture = cv2.VideoCapture(index)
    try:
        if not capture.isOpened():
            raise SourceError(f"Camera {index} cannot be opened. 'ls /dev/video*' lists the cameras; is one in use?")
        while True:
            found, bgr = capture.read()
            if not found:
                raise SourceError(f"Camera {index} stopped delivering images. Is it still plugged in?")
            yield Frame(_rgb(bgr), None)
    finally:
        capture.release()


def _video_frames(path: Path) -> Iterator[Frame]:
    capture = cv2.VideoCapture(str(path))
    try:
        rate = capture.get(cv2.CAP_PROP_FPS)
        found, bgr = capture.read()
        if not found:
            raise SourceError(
                f"{path}: OpenCV finds no video in this file. Convert it: ffmpeg -i {path.name} video.mp4"
            )
        index = 0
        while found:
            yield Frame(_rgb(bgr), index / rate if rate > 0 else None)
            found, bgr = capture.read()
            index += 1
    finally:
        capture.release()


def _folder_frames(folder: Path) -> Iterator[Frame]:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise SourceError(f"{folder}: neither images ({', '.join(sorted(IMAGE_SUFFIXES))}) nor a bag's metadata.yaml.")
    has_stamps = all(file.stem.isdecimal() for file in files)
    if has_stamps:
        files.sort(key=lambda file: int(file.stem))
    for file in files:
        bgr = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if bgr is None:
            raise SourceError(f"{file}: not an image that OpenCV can read. Remove it from the folder.")
        seconds = (int(file.stem) - int(files[0].stem)) / 1e9 if has_stamps else None
        yield Frame(_rgb(bgr), seconds)


def _bag_frames(path: Path) -> Iterator[Frame]:
    """Yield the images of the bag's first image topic. Bag time is the receiver's, so the header's stamp is used."""
    try:
        from rosbags.highlevel import AnyReader, AnyReaderError
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise SourceError(f"{path}: reading bags needs the package rosbags: pip install rosbags") from error

    typestore = get_typestore(Stores.ROS2_HUMBLE)
    try:
        with AnyReader([path]) as reader:
            images = [connection for connection in reader.connections if connection.msgtype in IMAGE_TYPES]
            if not images:
                raise SourceError(
                    f"{path}: no sensor_msgs/msg/Image topic in this bag (compressed ones are not played)."
                )
            topic = min(connection.topic for connection in images)
            first = None
            for _, _, raw in reader.messages([connection for connection in images if connection.topic == topic]):
                image: Any = typestore.deserialize_cdr(_decompress(bytes(raw)), "sensor_msgs/msg/Image")
                stamp = image.header.stamp.sec + image.header.stamp.nanosec / 1e9
                first = stamp if first is None else first
                rgb = decode_image(
                    image.encoding, image.height, image.width, image.step, image.is_bigendian, image.data
                )
                yield Frame(rgb, stamp - first)
    except (AnyReaderError, UnsupportedEncoding, CorruptImage) as error:
        raise SourceError(f"{path}: {error}") from error


def _decompress(message: bytes) -> bytes:
    """Undo zstd compression of a single message, which bags without their metadata.yaml do not announce."""
    if not message.startswith(ZSTD_MAGIC):
        return message
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd  # a requirement of rosbags
    return zstd.decompress(message)


def _rgb(bgr: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)

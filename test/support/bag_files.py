# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write small bags of every kind, recorded by a camera that pans over a texture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_typestore

HEIGHT, WIDTH = 96, 128
SECOND = 10**9
INTERVAL = SECOND // 30
START = 1_700_000_000 * SECOND


def panning_images(count, step=2, seed=0):
    """Views of a texture that moves `step` pixels to the left from frame to frame."""
    noise = np.random.default_rng(seed).uniform(0, 255, (HEIGHT, WIDTH + step * count, 3))
    fine, coarse = (
        cv2.normalize(cv2.GaussianBlur(noise, (0, 0), size), None, 10, 120, cv2.NORM_MINMAX) for size in (1.5, 8)
    )
    texture = (fine + coarse).astype(np.uint8)
    return [np.ascontiguousarray(texture[:, step * n : step * n + WIDTH]) for n in range(count)]


def regular_stamps(count, start=START):
    return [start + n * INTERVAL for n in range(count)]


def image_message(store, stamp, image, encoding="rgb8", frame_id="camera"):
    """Return a raw image message, or a compressed one if the encoding is jpeg or png."""
    types = store.types
    header = {"stamp": types["builtin_interfaces/msg/Time"](stamp // SECOND, stamp % SECOND), "frame_id": frame_id}
    if "std_msgs/msg/Header" in types and "seq" in types["std_msgs/msg/Header"].__annotations__:
        header["seq"] = 0
    header = types["std_msgs/msg/Header"](**header)
    if encoding in ("jpeg", "png"):
        data = cv2.imencode(f".{encoding}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].ravel()
        return types["sensor_msgs/msg/CompressedImage"](header, encoding, data)
    height, width = image.shape[:2]
    return types["sensor_msgs/msg/Image"](header, height, width, encoding, 0, image.nbytes // height, image.ravel())


def write_ros2(
    path: Path,
    images: Sequence[Any],
    stamps: Sequence[int] | None = None,
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
    topic: str = "/camera/image_raw",
    encoding: str = "rgb8",
    frame_id: str = "camera",
    more: Sequence[tuple[str, str, Any]] = (),
) -> Path:
    """Write a ROS 2 bag; `more` are (topic, type, message) that come first. Messages are recorded in their order."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    writer = Ros2Writer(path, version=8, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    kind = "sensor_msgs/msg/CompressedImage" if encoding in ("jpeg", "png") else "sensor_msgs/msg/Image"
    with writer:
        for name, message_type, message in more:
            connection = writer.add_connection(name, message_type, typestore=store)
            writer.write(connection, START - SECOND, store.serialize_cdr(message, message_type))
        if images:
            connection = writer.add_connection(topic, kind, typestore=store)
        for number, (stamp, image) in enumerate(zip(stamps or regular_stamps(len(images)), images, strict=True)):
            message = image_message(store, stamp, image, encoding, frame_id)
            writer.write(connection, START + number * INTERVAL, store.serialize_cdr(message, kind))
    return path


def write_ros1(path, images, stamps=None, compression=None, encoding="rgb8", topic="/camera/image_raw"):
    store = get_typestore(Stores.ROS1_NOETIC)
    kind = "sensor_msgs/msg/CompressedImage" if encoding in ("jpeg", "png") else "sensor_msgs/msg/Image"
    writer = Ros1Writer(path)
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        connection = writer.add_connection(topic, kind, typestore=store)
        for number, (stamp, image) in enumerate(zip(stamps or regular_stamps(len(images)), images, strict=True)):
            message = image_message(store, stamp, image, encoding)
            writer.write(connection, START + number * INTERVAL, store.serialize_ros1(message, kind))
    return path

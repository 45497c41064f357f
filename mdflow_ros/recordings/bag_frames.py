# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Camera frames of one image topic of a bag. Needs no ROS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from mdflow_ros.core.image_decoding import decode_image
from mdflow_ros.recordings.bag_message import RawMessage, decompress_message, zstd
from mdflow_ros.recordings.bag_parts import BagPart, Topic, find_parts
from mdflow_ros.recordings.frame import Frame, FrameSourceError, decode_compressed_image

RAW_IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
# Depth, flow and other measurements that travel as images.
NOT_A_CAMERA = ("16UC1", "16SC1", "32S", "32F", "64F")


class BagFrames:
    """The frames of one topic of one bag, or of several that continue one another.

    Args:
        bags: bag files and folders in the order of recording.
        topic: an image topic; None takes the bag's only camera.
        warnings: gets a line for everything that is missing, damaged, or odd.

    Raises:
        FrameSourceError: no bag there, no such topic, no image topic, or several to choose from.
    """

    def __init__(self, bags: Sequence[Path], topic: str | None, warnings: list[str]) -> None:
        self._warnings = warnings
        self._name = ", ".join(str(bag) for bag in bags)
        files = dict.fromkeys(part for bag in bags for part in find_parts(bag, warnings))
        self._parts = [BagPart(file) for file in files]
        self.topic = self._choose(self._topics(), topic)

    def __iter__(self) -> Iterator[Frame]:
        without_stamp = 0
        for part in self._parts:
            for message in part.messages(self.topic, self._warnings):
                frame = _frame(message, ros1=part.is_ros1)
                if frame.stamp == 0:
                    without_stamp += 1
                    frame = Frame(message.time, frame.frame_id, frame.decode)
                yield frame
        if without_stamp:
            self._warnings.append(
                f"{self._name}: {without_stamp} headers of {self.topic} have no time stamp; "
                "the time of recording was taken, which is less exact"
            )

    def _topics(self) -> dict[str, Topic]:
        topics: dict[str, Topic] = {}
        for part in self._parts:
            for name, topic in part.topics().items():
                before = topics.get(name, Topic(topic.type_name, 0))
                known = before.count is not None and topic.count is not None
                topics[name] = Topic(topic.type_name, before.count + topic.count if known else None)  # type: ignore[operator]
        return topics

    def _choose(self, topics: dict[str, Topic], wanted: str | None) -> str:
        images = {name: topic for name, topic in topics.items() if topic.type_name in (RAW_IMAGE, COMPRESSED_IMAGE)}
        if wanted is not None:
            wanted = "/" + wanted.strip("/")
            if wanted in images:
                return wanted
            reason = f"carries {topics[wanted].type_name}, not images" if wanted in topics else "does not exist"
            raise FrameSourceError(f"{self._name}: topic {wanted} {reason}. {_list_topics(images, topics)}")
        if not images:
            reasons = "".join(f"\n{part.path} is damaged: {part.damage}" for part in self._parts if part.damage)
            raise FrameSourceError(f"{self._name} holds no images. {_list_topics(images, topics)}{reasons}")
        cameras = self._cameras(images) if len(images) > 1 else list(images)
        if len(cameras) == 1:
            return cameras[0]
        raise FrameSourceError(
            f"{self._name} holds several image topics; choose one by appending it to the source, as in "
            f"'bag:drive#{min(cameras or images)}'. {_list_topics(images, topics)}"
        )

    def _cameras(self, images: dict[str, Topic]) -> list[str]:
        """Leave out depth images, and compressed copies of raw topics."""
        return [
            name
            for name in sorted(images)
            if not (name.endswith("/compressed") and name.removesuffix("/compressed") in images)
            and self._looks_like_a_camera(name)
        ]

    def _looks_like_a_camera(self, topic: str) -> bool:
        for part in self._parts:
            for message in part.messages(topic, []):
                try:
                    image = _deserialize(message, part.is_ros1)
                except ValueError:
                    return False
                kind = image.encoding if message.type_name == RAW_IMAGE else image.format
                return not kind.startswith(NOT_A_CAMERA) and "compressedDepth" not in kind
        return False


def _list_topics(images: dict[str, Topic], topics: dict[str, Topic]) -> str:
    if images:
        lines = [
            f"  {name} ({topic.type_name}, {'?' if topic.count is None else topic.count} messages)"
            for name, topic in sorted(images.items())
        ]
        return "Its image topics:\n" + "\n".join(lines)
    return "Its topics: " + (", ".join(f"{name} ({topic.type_name})" for name, topic in topics.items()) or "none")


@cache
def _typestore(ros1: bool) -> Typestore:
    """Return the definitions to read with.

    The image messages have never changed within ROS 1 or ROS 2, so one set of definitions reads all bags, those
    without definitions or with broken ones included.
    """
    return get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.LATEST)


def _deserialize(message: RawMessage, ros1: bool) -> Any:
    """Return the Image or CompressedImage; raises ValueError where the message is corrupt."""
    try:
        data = decompress_message(message.data)
        types = _typestore(ros1)
        return (types.deserialize_ros1 if ros1 else types.deserialize_cdr)(data, message.type_name)
    except (SerdeError, zstd.ZstdError) as error:
        raise ValueError(f"corrupt message: {error}") from error


def _frame(message: RawMessage, ros1: bool) -> Frame:
    try:
        image = _deserialize(message, ros1)
    except ValueError as error:
        return Frame(message.time, "", _raising(error))

    def decode() -> NDArray[np.uint8]:
        if message.type_name == COMPRESSED_IMAGE:
            return decode_compressed_image(image.data)
        return decode_image(image.encoding, image.height, image.width, image.step, bool(image.is_bigendian), image.data)

    stamp = image.header.stamp
    return Frame(stamp.sec * 10**9 + stamp.nanosec, image.header.frame_id, decode)


def _raising(error: ValueError) -> Any:
    def decode() -> NDArray[np.uint8]:
        raise error

    return decode

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read the camera frames of one image topic of a bag. Needs no ROS."""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from mdflow_ros.core.image_decoding import VIDEO_FORMATS, Decoder, decode_compressed_image, decode_image
from mdflow_ros.core.intensity import IntensityRange, IntensityStretch
from mdflow_ros.core.stamps import nanoseconds
from mdflow_ros.recordings.bag_message import (
    CDR,
    COMPRESSED_IMAGE,
    IMAGE_TYPES,
    RAW_IMAGE,
    ROS1,
    RawMessage,
    decompress_message,
    zstd,
)
from mdflow_ros.recordings.bag_parts import Topic, add_topic, find_parts, open_parts
from mdflow_ros.recordings.file_kinds import METADATA
from mdflow_ros.recordings.frame import FrameSourceError, RecordedFrame
from mdflow_ros.recordings.image_series import non_camera_word, warn_of_non_camera_images
from mdflow_ros.recordings.stamps import MIN_FRAMES, ReorderBuffer, why_not_trusted

PLAIN_CDR2, OTHER_SERIALIZATIONS = (6, 7), (2, 3, 8, 9, 10, 11)
"""First two bytes of a message, as a number (DDS-XTypes 1.3): in plain CDR of version 2, big-endian and little-endian,
and in serializations that are not read. CDR of version 1, which ROS 2 writes, has 0 and 1."""

NOT_A_CAMERA = ("16UC1", "16SC1", "32S", "32F", "64F")
"""Encodings of depth, flow and other measurements that are published as images."""

STAMPS_EXAMINED = 200
"""Number of messages whose stamps are compared with the recording times before the first frame is yielded."""

RECENT_MESSAGES = 8
"""A message is a copy if one of this many messages before it has the same content, including the stamp."""

VIDEO_TYPES = ("CompressedVideo", "FFMPEGPacket", "H264", "H265", "VideoPacket", "theora_image_transport")
"""Parts of the names of message types that hold packets of a video stream."""


class BagFrames:
    """The frames of one topic of one bag, or of several consecutive bags.

    Args:
        bags: bag files and folders in the order of recording.
        topic: an image topic; None for the bag's only camera.
        warnings: receives a line for everything that is missing, damaged or unusual.
        intensity_range: for images with more than 8 bits, see `IntensityStretch`.

    Raises:
        FrameSourceError: there is no bag, no such topic, no image topic, or several cameras and no topic.
    """

    def __init__(
        self,
        bags: Sequence[Path],
        topic: str | None,
        warnings: list[str],
        intensity_range: IntensityRange = "auto",
    ) -> None:
        self._warnings = warnings
        self._stretch = IntensityStretch(intensity_range)
        self._bags = bags
        self._name = ", ".join(str(bag) for bag in bags)
        folders = {part: (bag, _folder_of_bag(part)) for bag in bags for part in find_parts(bag, warnings)}
        numbers = {folder: number for number, folder in enumerate(dict.fromkeys(folders.values()))}
        self._bag_of = {part: numbers[folder] for part, folder in folders.items()}
        self._parts = open_parts(self._bag_of, warnings)
        self.topic = self._choose(self._topics(), topic)
        warn_of_non_camera_images(self.topic, f"{self._name}: topic {self.topic}", warnings)

    def __iter__(self) -> Iterator[RecordedFrame]:
        distrust = self._why_stamps_are_not_trusted()
        if distrust is not None:
            self._warnings.append(
                f"{self._name}: the headers of {self.topic} {distrust}, a fault of the camera driver; the recording "
                "time is used, which is less exact"
            )
            yield from (replace(self._frame(message, bag), stamp=message.time) for bag, message in self._messages())
            return
        without_stamp = 0
        ordered, copies = ReorderBuffer(), _Copies()
        for bag, message in self._messages():
            frame = self._frame(message, bag)
            if copies.is_copy(frame, message):
                continue
            without_stamp += frame.stamp == 0
            yield from ordered.add(frame if frame.stamp else replace(frame, stamp=message.time))
        yield from ordered.flush()
        if ordered.moved:
            self._warnings.append(
                f"{self._name}: {ordered.moved} messages of {self.topic} were recorded out of the order of their "
                "stamps; they are put in order"
            )
        if copies.found:
            self._warnings.append(
                f"{self._name}: {copies.found} messages of {self.topic} are copies of other messages, as in a merge of "
                "two recorders' bags; each is read once"
            )
        if without_stamp:
            self._warnings.append(
                f"{self._name}: {without_stamp} headers of {self.topic} have no time stamp; the recording time is used "
                "for them, which is less exact"
            )

    def _why_stamps_are_not_trusted(self) -> str | None:
        """Examine the first messages. They are read again later, because 200 images may not fit into memory."""
        copies = _Copies()
        examined = []
        for bag, message in islice(self._messages(warn=False), STAMPS_EXAMINED):
            frame = self._frame(message, bag)
            examined.append((frame.stamp, message.time, copies.is_copy(frame, message)))
        stamps, recorded, copied = np.array(examined, np.int64).reshape(-1, 3).T
        distrust = why_not_trusted(stamps, recorded)
        once = copied == 0
        # If nearly all are copies, the driver may repeat one stamp while nothing moves.
        return why_not_trusted(stamps[once], recorded[once]) if distrust and once.sum() >= MIN_FRAMES else distrust

    def _messages(self, warn: bool = True) -> Iterator[tuple[int, RawMessage]]:
        """Yield the number of the bag and the message."""
        for part in self._parts:
            for message in part.messages(self.topic, self._warnings if warn else []):
                if _is_image(message):
                    yield self._bag_of[part.path], message

    def _topics(self) -> dict[str, Topic]:
        topics: dict[str, Topic] = {}
        for part in self._parts:
            for name, topic in part.topics().items():
                add_topic(topics, name, topic)
        return topics

    def _choose(self, topics: dict[str, Topic], wanted: str | None) -> str:
        images = {name: topic for name, topic in topics.items() if _is_image(topic)}
        if wanted is not None:
            rooted = "/" + wanted.strip("/")
            for name in (wanted, rooted, wanted.strip("/")):  # some bags hold names without a slash
                if name in images:
                    return name
            wanted = wanted if wanted in topics else rooted
            reason = f"carries {_describe(topics[wanted])}, not images" if wanted in topics else "does not exist"
            raise FrameSourceError(f"{self._name}: topic {wanted} {reason}. {_list_topics(images, topics)}")
        if not images:
            reasons = "".join(f"\n{part.path} is damaged: {part.damage}" for part in self._parts if part.damage)
            raise FrameSourceError(
                f"{self._name} holds no images. {_list_topics(images, topics)}{_remedy(topics)}{reasons}"
            )
        filled = {name: topic for name, topic in images.items() if topic.count != 0} or images
        cameras = self._cameras(filled) if len(images) > 1 else list(images)
        if len(cameras) == 1:
            return cameras[0]
        raise FrameSourceError(
            f"{self._name} holds several image topics; choose one by appending it to the source, as in "
            f"{shlex.quote(f'bag:{self._bags[0]}#{min(cameras or filled)}')}. {_list_topics(images, topics)}"
        )

    def _cameras(self, images: dict[str, Topic]) -> list[str]:
        """Return the camera topics: no depth images, no video, and no copies that image_transport makes of a topic.

        If several are left, those with names such as ``depth`` or ``mask`` are left out too: librealsense records depth
        as mono16, and masks are mono8.
        """
        found = [
            name for name in sorted(images) if name.rpartition("/")[0] not in images and self._looks_like_a_camera(name)
        ]
        return [name for name in found if not non_camera_word(name)] or found

    def _looks_like_a_camera(self, topic: str) -> bool:
        """Decide by the first intact message; a topic without any counts as a camera."""
        for part in self._parts:
            for message in filter(_is_image, part.messages(topic, [])):
                try:
                    image = _deserialize(message)
                except ValueError:
                    continue
                kind = image.encoding if message.type_name == RAW_IMAGE else image.format
                other = any(name in kind.lower() for name in ("compresseddepth", *VIDEO_FORMATS))
                return not other and not kind.startswith(NOT_A_CAMERA)
        return True

    def _frame(self, message: RawMessage, bag: int) -> RecordedFrame:
        try:
            image = _deserialize(message)
        except ValueError as error:
            return RecordedFrame(message.time, "", _raising(error), self._stretch, bag)

        def decode() -> NDArray[np.uint8]:
            if message.type_name == COMPRESSED_IMAGE:
                return decode_compressed_image(image.data, image.format, self._stretch)
            big = bool(image.is_bigendian)
            return decode_image(image.encoding, image.height, image.width, image.step, big, image.data, self._stretch)

        return RecordedFrame(nanoseconds(image.header.stamp), image.header.frame_id, decode, self._stretch, bag)


class _Copies:
    """Finds messages that a bag contains twice.

    Attributes:
        found: how many there were.
    """

    def __init__(self) -> None:
        self.found = 0
        self._recent: deque[int] = deque(maxlen=RECENT_MESSAGES)

    def is_copy(self, frame: RecordedFrame, message: RawMessage) -> bool:
        """Return whether a message is a copy of a recent one; without a stamp it may show the same scene again."""
        content = crc32(message.data)
        known = frame.stamp != 0 and content in self._recent
        self._recent.append(content)
        self.found += known
        return known


def _folder_of_bag(part: Path) -> Path:
    """Return the folder of the bag that a part belongs to; a killed recorder leaves the last part in a subfolder."""
    folder = part.parent
    is_left_over = not (folder / METADATA).exists() and (folder.parent / METADATA).exists()
    return folder.parent if is_left_over else folder


def _is_image(topic: Topic | RawMessage) -> bool:
    return topic.type_name in IMAGE_TYPES and topic.encoding in (CDR, ROS1)


def _describe(topic: Topic) -> str:
    return topic.type_name + ("" if topic.encoding in (CDR, ROS1) else f" as {topic.encoding}")


def _list_topics(images: dict[str, Topic], topics: dict[str, Topic]) -> str:
    if images:
        lines = [
            f"  {name} ({topic.type_name}, {'?' if topic.count is None else topic.count} messages)"
            for name, topic in sorted(images.items())
        ]
        return "Its image topics:\n" + "\n".join(lines)
    return "Its topics: " + (", ".join(f"{name} ({_describe(topic)})" for name, topic in topics.items()) or "none")


def _remedy(topics: dict[str, Topic]) -> str:
    """Return how to get images from a bag without readable images."""
    if any(kind in topic.type_name for topic in topics.values() for kind in VIDEO_TYPES):
        return "\nPackets of a video stream are not images: play the bag, decode them to sensor_msgs/Image, record that"
    if any(topic.encoding not in (CDR, ROS1) for topic in topics.values()):
        return "\nOnly messages in the encodings of ROS 1 and ROS 2 are read: convert the file to a ROS 2 bag"
    if any("Image" in topic.type_name for topic in topics.values()):
        known = f"{RAW_IMAGE} and {COMPRESSED_IMAGE}"
        return f"\nOnly {known} are read as images: convert them, or record the camera's own topic"
    return ""


@cache
def _typestore(ros1: bool) -> Typestore:
    """Return the message definitions of ROS 1 or ROS 2.

    The image messages have never changed within ROS 1 or ROS 2, so one set of definitions reads all bags, even those
    with missing or broken definitions.
    """
    return get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.LATEST)


def _deserialize(message: RawMessage) -> Any:
    """Return the Image or CompressedImage; raise ValueError if the message is corrupt."""
    try:
        data = decompress_message(message.data)
        if message.encoding == CDR:
            data = _in_version_1(data)
        types = _typestore(message.encoding == ROS1)
        return (types.deserialize_ros1 if message.encoding == ROS1 else types.deserialize_cdr)(data, message.type_name)
    except (SerdeError, zstd.ZstdError) as error:
        raise ValueError(f"corrupt message: {error}") from error


def _in_version_1(data: bytes) -> bytes:
    """Return an image in CDR as version 1 has it; version 2 differs in its head only, as images hold no 64-bit numbers.

    Raises:
        ValueError: the message is in another serialization of DDS.
    """
    head = int.from_bytes(data[:2], "big")
    if head in OTHER_SERIALIZATIONS:
        raise ValueError(
            f"the message is in the DDS serialization {head:04x}, which is not read; only CDR and CDR2 are: record "
            "the images with rosbag2 or `record_bag`"
        )
    return bytes((0, head - PLAIN_CDR2[0])) + data[2:] if head in PLAIN_CDR2 else data


def _raising(error: ValueError) -> Decoder:
    def decode() -> NDArray[np.uint8]:
        raise error

    return decode

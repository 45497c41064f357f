# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Raw messages of a bag, their types and their compression."""

from __future__ import annotations

import errno
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos

from mdflow_ros.recordings.file_kinds import ZSTD

if sys.version_info >= (3, 14):
    from compression import zstd
else:  # rosbags depends on it too
    from backports import zstd

CDR, ROS1 = "cdr", "ros1"
"""Supported serializations."""

MSG, IDL = "ros2msg", "ros2idl"
"""Languages of definitions of types, as bags name them."""

IDL_HEADER = "=" * 80 + "\nIDL: "
"""Begins each type of a definition in `IDL`, before its name."""

RAW_IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = (RAW_IMAGE, COMPRESSED_IMAGE)


class RawMessage(NamedTuple):
    """A serialized message.

    Attributes:
        topic: name of the topic.
        type_name: as spelled in ROS 2, ``sensor_msgs/msg/Image``.
        time: recording time in ns.
        data: the serialized message.
        encoding: of ``data``: ``cdr`` (ROS 2), ``ros1``, or any other that MCAP files use, such as ``protobuf``.
        definition: of the type, as in the file; empty if the file has none.
        offered_qos: profiles of the topic's publishers.
    """

    topic: str
    type_name: str
    time: int
    data: bytes
    encoding: str = CDR
    definition: str = ""
    offered_qos: tuple[Qos, ...] = ()


def readable_definition(type_name: str, language: str, text: str) -> str:
    """Return the definition of a type as rosbag2 writes it, or nothing if it is in neither `MSG` nor `IDL`."""
    if language == IDL and text and not text.startswith(IDL_HEADER):
        return f"{IDL_HEADER}{type_name}\n{text}"
    return text if language in (MSG, IDL) else ""


def parse_offered_qos(text: str) -> tuple[Qos, ...]:
    """Return the QoS profiles that a bag stores as YAML, or none if they cannot be read."""
    try:
        return tuple(parse_qos(text))
    except Exception:  # rosbags may raise anything for a damaged file
        return ()


def canonical_type(name: str) -> str:
    """Spell a message type as ROS 2 does; ROS 1, and some ROS 2 writers, leave out ``/msg``."""
    package, _, message = name.rpartition("/")
    return name if not package or package.endswith("/msg") else f"{package}/msg/{message}"


def decompress_message(data: bytes) -> bytes:
    """Undo rosbag2's compression mode ``message``.

    Only ``metadata.yaml`` names that mode, and it is often missing for a part of a split bag. So the first four bytes
    decide: CDR begins with 0, and ROS 1 with a sequence number, which looks like zstd once in 4 billion cases.

    Raises:
        zstd.ZstdError: the compressed message is damaged.
    """
    return zstd.decompress(data) if bytes(data[:4]) == ZSTD else data


def decompress_file(source: Path, target: Path) -> None:
    """Undo rosbag2's compression mode ``file``, up to where a truncated or damaged file can be read.

    Raises:
        OSError: the disk is full; the text says where.
    """
    try:
        with zstd.open(source, "rb") as compressed, target.open("wb") as plain, suppress(EOFError, zstd.ZstdError):
            shutil.copyfileobj(compressed, plain)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(
            f"no room to unpack {source} in {target.parent}: set TMPDIR to a folder on a larger disk"
        ) from error

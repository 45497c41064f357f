# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A raw message of a bag: its compression and the two spellings of its type."""

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
"""Serializations that are read here."""

MSG, IDL = "ros2msg", "ros2idl"
"""Languages of definitions of types, as bags name them."""

IDL_HEADER = "=" * 80 + "\nIDL: "
"""Begins each type of a definition in `IDL`, before its name."""

RAW_IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = (RAW_IMAGE, COMPRESSED_IMAGE)


class RawMessage(NamedTuple):
    """A serialized message.

    ``type_name`` is spelled as in ROS 2 (``sensor_msgs/msg/Image``), ``time`` is when it was recorded, in ns, and
    ``data`` is serialized by ``encoding``: ``cdr`` (ROS 2), ``ros1``, or whatever else an MCAP file holds, such as
    ``protobuf`` and ``json``. ``definition`` is the type's definition as the file has it, empty where it has none, and
    ``offered_qos`` are the profiles of the topic's publishers.
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
    """Return the profiles that a bag holds as YAML, or none where they cannot be read."""
    try:
        return tuple(parse_qos(text))
    except Exception:  # a damaged file holds anything, and rosbags raises anything
        return ()


def canonical_type(name: str) -> str:
    """Spell a message type as ROS 2 does; ROS 1, and some ROS 2 writers, leave out ``/msg``."""
    package, _, message = name.rpartition("/")
    return name if not package or package.endswith("/msg") else f"{package}/msg/{message}"


def decompress_message(data: bytes) -> bytes:
    """Undo rosbag2's compression mode ``message``.

    Only ``metadata.yaml`` tells of that mode, and a part of a split bag often comes without it. The first four
    bytes tell as well: CDR begins with 0 and ROS 1 with a sequence number, which looks like zstd once in
    4 billion cases.

    Raises:
        zstd.ZstdError: the compressed message is damaged.
    """
    return zstd.decompress(data) if bytes(data[:4]) == ZSTD else data


def decompress_file(source: Path, target: Path) -> None:
    """Undo rosbag2's compression mode ``file``, as far as a truncated or damaged file goes.

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

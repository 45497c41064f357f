# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read a ROS 1 bag with a missing or wrong index: its chunks in file order, up to the first truncated one.

A killed ROS 1 recording (``.bag.active``) never has an index. Format: http://wiki.ros.org/Bags/Format/2.0
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from mdflow_ros.core.stamps import NANOSECONDS
from mdflow_ros.recordings.bag_message import ROS1, RawMessage, canonical_type
from mdflow_ros.recordings.file_kinds import ROS1_BAG
from mdflow_ros.recordings.salvage_compression import decompress_intact

MESSAGE, CHUNK, CONNECTION = 2, 5, 7


def salvage_ros1(path: Path, warnings: list[str]) -> Iterator[RawMessage]:
    """Yield the messages in file order; ``warnings`` receives a line for each section that cannot be read."""
    connections: dict[int, tuple[str, str]] = {}
    with path.open("rb") as file:
        if file.read(len(ROS1_BAG)) != ROS1_BAG:
            warnings.append("it does not begin like a ROS 1 bag")
            return
        for header, data in _records(file, warnings):
            if header.get("op") != bytes([CHUNK]):
                continue
            body = decompress_intact(data, header.get("compression", b"").decode("ascii", "replace"))
            size = _number(header, "size")
            if len(body) < size:
                warnings.append(f"{size - len(body)} of {size} bytes of a chunk are lost")
            for inner_header, inner in _records(BytesIO(body), []):
                message = _interpret(inner_header, inner, connections)
                if message is not None:
                    yield message


def _records(file: BinaryIO, warnings: list[str]) -> Iterator[tuple[dict[str, bytes], bytes]]:
    """Yield (header fields, data) of each record; the data of the last one may be truncated."""
    while len(head := file.read(4)) == 4:
        position = file.tell() - 4
        header = _header(file.read(struct.unpack("<I", head)[0]))
        length = file.read(4)
        if "op" not in header or len(length) < 4:
            warnings.append(f"unreadable after byte {position}")
            return
        (size,) = struct.unpack("<I", length)
        data = file.read(size)
        if len(data) < size:
            warnings.append(f"cut off after byte {position}, in a record of {size} bytes")
            if header["op"] != bytes([CHUNK]):
                return
        yield header, data


def _header(fields: bytes) -> dict[str, bytes]:
    """Parse ``<length>name=value`` fields; malformed ones are left out."""
    header: dict[str, bytes] = {}
    position = 0
    while position + 4 <= len(fields):
        (length,) = struct.unpack_from("<I", fields, position)
        name, equals, value = fields[position + 4 : position + 4 + length].partition(b"=")
        if equals:
            header[name.decode("ascii", "replace")] = value
        position += 4 + length
    return header


def _interpret(header: dict[str, bytes], data: bytes, connections: dict[int, tuple[str, str]]) -> RawMessage | None:
    """Remember a connection, or return a message of a known connection."""
    connection = _number(header, "conn")
    if header["op"] == bytes([CONNECTION]):
        type_name = _header(data).get("type", b"").decode("ascii", "replace")
        connections[connection] = (header.get("topic", b"").decode(), canonical_type(type_name))
    elif header["op"] == bytes([MESSAGE]) and connection in connections and len(header.get("time", b"")) == 8:
        seconds, nanoseconds = struct.unpack("<II", header["time"])
        return RawMessage(*connections[connection], seconds * NANOSECONDS + nanoseconds, data, ROS1)
    return None


def _number(header: dict[str, bytes], name: str) -> int:
    return int.from_bytes(header.get(name, b""), "little")

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read an MCAP file with a missing or wrong index: its records in file order, up to the first truncated one.

Format: https://mcap.dev/spec
"""

from __future__ import annotations

import os
import struct
from binascii import crc32
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rosbags.interfaces import Qos

from mdflow_ros.recordings.bag_message import (
    CDR,
    IDL,
    MSG,
    RawMessage,
    canonical_type,
    parse_offered_qos,
    readable_definition,
)
from mdflow_ros.recordings.file_kinds import MCAP
from mdflow_ros.recordings.salvage_compression import decompress_intact

SCHEMA, CHANNEL, MESSAGE, CHUNK, DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
LAST_OPCODE = 0x0F
NOT_MCAP = "it does not begin like an MCAP file"
UNFINISHED = "it ends before its data does: the recording was never closed"


class _Channel(NamedTuple):
    topic: str
    type_name: str
    definition: str
    encoding: str
    offered_qos: tuple[Qos, ...]


def salvage_mcap(path: Path, warnings: list[str]) -> Iterator[RawMessage]:
    """Yield the messages in file order; ``warnings`` receives a line for each section that cannot be read."""
    schemas: dict[int, tuple[str, str]] = {}
    channels: dict[int, _Channel] = {}
    with path.open("rb") as file:
        if file.read(len(MCAP)) != MCAP:
            warnings.append(NOT_MCAP)
            return
        for opcode, content in _records(file, warnings):
            if opcode == DATA_END:
                file.seek(-len(MCAP), os.SEEK_END)
                if file.read() != MCAP:
                    warnings.append("its index is cut off, its messages are complete")
                return
            inner = _chunk_records(content, warnings) if opcode == CHUNK else [(opcode, content)]
            for inner_opcode, record in inner:
                message = _interpret(inner_opcode, record, schemas, channels)
                if message is not None:
                    yield message
    warnings.append(UNFINISHED)


def _records(file: BinaryIO, warnings: list[str]) -> Iterator[tuple[int, bytes]]:
    """Yield (opcode, content) of the top-level records; the last one may be truncated."""
    size = os.fstat(file.fileno()).st_size
    while (position := file.tell()) < size:
        head = file.read(9)
        opcode, length = struct.unpack("<BQ", head) if len(head) == 9 else (0, 0)
        if not 1 <= opcode <= LAST_OPCODE and not opcode >= 0x80:  # 0x80 and above are private records
            if head != MCAP:
                warnings.append(f"unreadable after byte {position}: {size - position} bytes are lost")
            return
        missing = position + 9 + length - size
        if missing > 0:
            warnings.append(f"cut off after byte {position}, in a record of {length} bytes")
            if opcode != CHUNK:
                return
        yield opcode, file.read(length)


def _chunk_records(chunk: bytes, warnings: list[str]) -> Iterator[tuple[int, bytes]]:
    """Yield (opcode, content) of the complete records of a chunk, which may be truncated."""
    if len(chunk) < 32:
        return
    uncompressed_size, checksum, name_length = struct.unpack_from("<QII", chunk, 16)
    compression = chunk[32 : 32 + name_length].decode("ascii", "replace")
    body = decompress_intact(chunk[40 + name_length :], compression)
    if len(body) == uncompressed_size and checksum and crc32(body) != checksum:
        warnings.append(f"a chunk of {len(body)} bytes fails its checksum and was left out")
        return
    if len(body) < uncompressed_size:
        warnings.append(f"{uncompressed_size - len(body)} of {uncompressed_size} bytes of a chunk are lost")
    position = 0
    while position + 9 <= len(body):
        opcode, length = struct.unpack_from("<BQ", body, position)
        position += 9 + length
        if position <= len(body):
            yield opcode, body[position - length : position]


def _interpret(
    opcode: int, record: bytes, schemas: dict[int, tuple[str, str]], channels: dict[int, _Channel]
) -> RawMessage | None:
    """Remember a schema or channel, or return a message of a known channel."""
    try:
        if opcode == SCHEMA:
            (name, encoding, definition), _ = _strings(record, 2, 3)
            name = canonical_type(name) if encoding in ("", MSG, "ros1msg", IDL) else name
            schemas[struct.unpack_from("<H", record)[0]] = (name, readable_definition(name, encoding, definition))
        elif opcode == CHANNEL:
            channel, schema = struct.unpack_from("<HH", record)
            (topic, encoding), position = _strings(record, 4, 2)
            type_name, definition = schemas.get(schema, ("", ""))
            offered_qos = parse_offered_qos(_metadata(record, position).get("offered_qos_profiles", ""))
            channels[channel] = _Channel(topic, type_name, definition, encoding or CDR, offered_qos)
        elif opcode == MESSAGE:
            channel, _, log_time = struct.unpack_from("<HIQ", record)
            if channel in channels:
                topic, type_name, definition, encoding, offered_qos = channels[channel]
                return RawMessage(topic, type_name, log_time, record[22:], encoding, definition, offered_qos)
    except (struct.error, UnicodeDecodeError):  # a damaged record; later ones may be intact
        pass
    return None


def _metadata(record: bytes, position: int) -> dict[str, str]:
    """Return a map of strings, which begins with its length in bytes; without the entries after damage."""
    found: dict[str, str] = {}
    try:
        (length,) = struct.unpack_from("<I", record, position)
        position, end = position + 4, position + 4 + length
        while position < end:
            (key, value), position = _strings(record, position, 2)
            found[key] = value
    except struct.error:
        pass
    return found


def _strings(record: bytes, position: int, count: int) -> tuple[list[str], int]:
    """Return consecutive strings, each preceded by its length, and the position after them.

    Definitions may contain any bytes.
    """
    found = []
    for _ in range(count):
        (length,) = struct.unpack_from("<I", record, position)
        found.append(record[position + 4 : position + 4 + length].decode(errors="replace"))
        position += 4 + length
    return found, position

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write MCAP files with any channels, without chunks or index; format: https://mcap.dev/spec."""

from __future__ import annotations

import struct
from pathlib import Path

MAGIC = b"\x89MCAP0\r\n"


class McapFile:
    """An MCAP file to which records are added; `finish` completes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ids = 0
        self._records = MAGIC + _record(0x01, _string("") + _string("test"))

    def channel(self, topic: str, encoding: str, type_name: str, schema_encoding: str, definition: bytes = b"") -> int:
        """Add a channel with a new schema; return the number of the channel."""
        self._ids += 1
        schema = struct.pack("<H", self._ids) + _string(type_name) + _string(schema_encoding)
        self._records += _record(0x03, schema + struct.pack("<I", len(definition)) + definition)
        channel = struct.pack("<HH", self._ids, self._ids) + _string(topic) + _string(encoding) + struct.pack("<I", 0)
        self._records += _record(0x04, channel)
        return self._ids

    def message(self, channel: int, time: int, data: bytes) -> None:
        """Add a message, recorded at ``time`` in ns."""
        self._records += _record(0x05, struct.pack("<HIQQ", channel, 0, time, time) + data)

    def finish(self) -> Path:
        """Write the complete file; return its path."""
        end = _record(0x0F, struct.pack("<I", 0)) + _record(0x02, struct.pack("<QQI", 0, 0, 0)) + MAGIC
        self.path.write_bytes(self._records + end)
        return self.path


def _record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


def _string(text: str) -> bytes:
    return struct.pack("<I", len(text.encode())) + text.encode()

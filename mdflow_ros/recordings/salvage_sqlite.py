# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read a rosbag2 SQLite file that is truncated, damaged, or left behind by a killed recording.

SQLite finds rows through a tree with its upper pages late in the file, so it often reads nothing from half a file. Here
each page is examined on its own, and pages with rows are parsed. Format:
https://www.sqlite.org/fileformat2.html, sections 1.3 (header), 1.6 (pages and cells), 2.1 (records).
"""

from __future__ import annotations

import mmap
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from rosbags.interfaces import Qos

from mdflow_ros.recordings.bag_message import CDR, RawMessage, canonical_type, parse_offered_qos, readable_definition
from mdflow_ros.recordings.file_kinds import SQLITE

TABLE_LEAF = 0x0D
INTEGER_SIZES = (0, 1, 2, 3, 4, 6, 8)
Value = int | str | bytes | None


def unfinished_companions(path: Path) -> list[Path]:
    """Return the journals of a SQLite file that a killed recording had not yet merged or rolled back."""
    companions = [path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")]
    return [companion for companion in companions if companion.is_file() and companion.stat().st_size]


def salvage_sqlite(path: Path, warnings: list[str]) -> Iterator[RawMessage]:
    """Yield the messages in the order of recording; ``warnings`` receives a line for what cannot be read."""
    with tempfile.TemporaryDirectory() as folder:
        companions = unfinished_companions(path)
        if companions:
            # SQLite merges the journal or rolls it back, which writes to the file, so use a copy.
            for original in (path, *companions):
                shutil.copyfile(original, Path(folder, original.name))
            path = Path(folder, path.name)
            try:
                with closing(sqlite3.connect(path)) as database:
                    database.execute("PRAGMA journal_mode=DELETE").fetchall()
            except sqlite3.DatabaseError as error:
                warnings.append(f"its journal could not be applied ({error})")
        if path.stat().st_size < 512:
            warnings.append("nothing is left of it")
            return
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
            yield from _messages(pages, warnings)


def _messages(pages: mmap.mmap, warnings: list[str]) -> Iterator[RawMessage]:
    if pages[: len(SQLITE)] != SQLITE:
        warnings.append("it does not begin like a SQLite file")
        return
    topics: dict[int, tuple[str, str, tuple[Qos, ...]]] = {}
    definitions: dict[str, str] = {}
    cut_off = 0
    for row, values in _rows(pages):
        match values:
            case None:
                cut_off += 1
            case [_, str(name), str(type_name), "cdr", *more]:
                profiles = more[0] if more and isinstance(more[0], str) else ""
                topics[row] = (name, canonical_type(type_name), parse_offered_qos(profiles))
            case [_, str(type_name), "ros2msg" | "ros2idl" as language, str(text), *_]:
                name = canonical_type(type_name)
                definitions[name] = readable_definition(name, language, text)
            case [_, int(topic), int(time), bytes(data)] if topic in topics:
                name, type_name, offered_qos = topics[topic]
                yield RawMessage(name, type_name, time, data, CDR, definitions.get(type_name, ""), offered_qos)
    if cut_off:
        warnings.append(f"{cut_off} rows are cut off or damaged")


def _rows(pages: mmap.mmap) -> Iterator[tuple[int, list[Value] | None]]:
    """Yield (row id, values) of all tables in the order of the pages; None for incomplete values."""
    page_size = int.from_bytes(pages[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    usable = page_size - pages[20]
    if page_size < 512 or usable < 480:  # the format's limits
        return
    for start in range(page_size, len(pages) - page_size + 1, page_size):
        if pages[start] != TABLE_LEAF:
            continue
        cells = int.from_bytes(pages[start + 3 : start + 5], "big")
        for cell in range(min(cells, page_size // 4)):
            pointer = start + 8 + 2 * cell
            offset = start + int.from_bytes(pages[pointer : pointer + 2], "big")
            try:
                size, offset = _varint(pages, offset)
                row, offset = _varint(pages, offset)
                yield row, _record(_payload(pages, offset, size, page_size, usable))
            except (IndexError, ValueError):
                yield -1, None


def _payload(pages: mmap.mmap, offset: int, size: int, page_size: int, usable: int) -> bytes:
    """Return the payload of a cell; a large one continues in a chain of overflow pages."""
    largest, smallest = usable - 35, (usable - 12) * 32 // 255 - 23
    if size <= largest:
        return pages[offset : offset + size]
    local = smallest + (size - smallest) % (usable - 4)
    local = local if local <= largest else smallest
    pieces = [pages[offset : offset + local]]
    missing = size - local
    following = int.from_bytes(pages[offset + local : offset + local + 4], "big")
    while missing > 0:
        start = (following - 1) * page_size
        if following < 2 or start + page_size > len(pages):
            raise ValueError("the chain of pages leaves the file")
        pieces.append(pages[start + 4 : start + 4 + min(missing, usable - 4)])
        missing -= usable - 4
        following = int.from_bytes(pages[start : start + 4], "big")
    return b"".join(pieces)


def _record(payload: bytes) -> list[Value]:
    header_size, position = _varint(payload, 0)
    kinds = []
    while position < header_size:
        kind, position = _varint(payload, position)
        kinds.append(kind)
    values: list[Value] = []
    for kind in kinds:
        size = INTEGER_SIZES[kind] if kind < 7 else 8 if kind == 7 else 0 if kind < 12 else (kind - 12) // 2
        content = payload[position : position + size]
        if len(content) < size:
            raise ValueError("the record is cut off")
        values.append(_value(kind, content))
        position += size
    return values


def _value(kind: int, content: bytes) -> Value:
    if kind in (8, 9):
        return kind - 8
    if 1 <= kind <= 6:
        return int.from_bytes(content, "big", signed=True)
    if kind >= 12:
        return content.decode() if kind % 2 else content
    return None  # NULL; no column of a bag is a float


def _varint(data: mmap.mmap | bytes, offset: int) -> tuple[int, int]:
    """Return (value, offset after it) of a big-endian number with 7 bits per byte, at most 9 bytes."""
    value = 0
    for position in range(offset, offset + 8):
        value = value << 7 | data[position] & 0x7F
        if data[position] < 0x80:
            return value, position + 1
    return value << 8 | data[offset + 8], offset + 9

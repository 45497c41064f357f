# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write a rosbag2 bag in parts, so that a kill or a full disk loses at most the last second.

rosbags writes the parts, even if rosbag2_py is installed: it works everywhere, and recording serialized messages needs
no more than appending them to a file.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.metadata import dump_qos_v8
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from mdflow_ros.core.atomic_files import replace_file
from mdflow_ros.recordings.bag_message import IDL_HEADER
from mdflow_ros.recordings.file_kinds import METADATA

Storage = Literal["mcap", "sqlite3"]
STORAGES: tuple[Storage, ...] = ("mcap", "sqlite3")

METADATA_VERSION: Literal[8] = 8
"""Humble and later read this version. Version 9 writes QoS in a form that Humble and Iron refuse."""


_IDL_HEADER_LINE = re.compile(f"^{IDL_HEADER}.*$", re.MULTILINE)
_IDL_INCLUDE = re.compile(r"^#include.*$", re.MULTILINE)
"""The types of these files follow in the definition."""


class UnknownType(ValueError):
    """The definition of a message type is missing or cannot be read."""


@dataclass
class _Part:
    """A finished file of the bag; times in ns."""

    name: str
    start: int
    end: int
    counts: dict[str, int]


class BagWriter:
    """A bag folder that is complete after every part.

    The current part is written in a subfolder. A finished part is moved into the bag and added to ``metadata.yaml``, so
    every file directly in the bag is complete, and ``ros2 bag`` reads it. The flushed messages of an unfinished part
    are on disk: `frame_source` reads them, and `repair_bag` copies them into a complete bag.

    Args:
        folder: of the bag; the files have its name.
        storage: ``mcap`` or ``sqlite3``.
        part_size: bytes of messages after which a new part begins.

    Raises:
        FileExistsError: the folder exists; a recording is never overwritten.
        PermissionError: the folder cannot be created.
    """

    def __init__(self, folder: Path, storage: Storage = "mcap", part_size: int = 2**30) -> None:
        if folder.exists():
            raise FileExistsError(f"{folder} exists already; choose another name, recordings are never overwritten")
        place = next(above for above in folder.absolute().parents if above.exists())
        if not place.is_dir() or not os.access(place, os.W_OK):
            reason = "cannot be written" if place.is_dir() else "is not a folder"
            raise PermissionError(f"cannot create {folder}: {place} {reason}; choose another folder")
        self.folder, self._storage, self._part_size = folder, storage, part_size
        self._topics: dict[str, tuple[str, Typestore, str, Sequence[Qos]]] = {}
        self._parts: list[_Part] = []
        self._writer: Writer | None = None
        self._connections: dict[str, Connection] = {}
        self._written = 0
        self._disk_failed = False

    def add_topic(self, topic: str, type_name: str, offered_qos: Sequence[Qos] = (), definition: str = "") -> None:
        """Add a topic before its first message.

        Args:
            topic: full name.
            type_name: as ROS 2 spells it, ``sensor_msgs/msg/Image``.
            offered_qos: of its publishers.
            definition: of the type and the types in it; empty for ROS 2's standard types.

        Raises:
            UnknownType: there is no definition, or it cannot be read.
        """
        try:
            types = _types_of(type_name, definition)
        except UnknownType:
            if type_name not in _standard_types().types:
                raise
            types, definition = _standard_types(), ""
        self._topics[topic] = (type_name, types, definition, offered_qos)

    def write(self, topic: str, time: int, data: bytes) -> None:
        """Append a serialized message of an added topic, received at ``time`` in ns.

        Raises:
            OSError: the disk is full or gone.
        """
        with self._disk_errors():
            if self._writer is None:
                self._writer = self._open_part()
            if topic not in self._connections:
                type_name, types, definition, qos = self._topics[topic]
                # rosbags takes both definition and hash, or creates both.
                own = {"msgdef": definition, "rihs01": types.hash_rihs01(type_name)} if definition else {}
                self._connections[topic] = self._writer.add_connection(
                    topic, type_name, typestore=types, offered_qos_profiles=qos, **own
                )
            self._writer.write(self._connections[topic], time, data)
            self._written += len(data)
            if self._written >= self._part_size:
                self._finish_part()

    def flush(self) -> None:
        """Pass all messages to the operating system, so that none is lost if this process is killed.

        Raises:
            OSError: the disk is full or gone.
        """
        storage = self._writer.storage if self._writer else None
        # Otherwise rosbags buffers up to 1 MiB (MCAP) or the whole part (SQLite) until it is closed.
        if isinstance(storage, McapWriter):
            with self._disk_errors():
                if storage.chunk.msgs:
                    storage.close_chunk()
                storage.bio.flush()
        elif isinstance(storage, Sqlite3Writer):
            with self._disk_errors():
                storage.conn.commit()

    def size(self) -> int:
        """Return the bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def close(self) -> None:
        """Finish the last part; if the disk failed, the part is left unfinished. Without messages there is no folder.

        Raises:
            OSError: the disk is full or gone.
        """
        with self._disk_errors():
            self._finish_part()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Remember that the disk failed, and turn SQLite's errors into OSError."""
        try:
            yield
        except sqlite3.Error as error:
            self._disk_failed = True
            raise OSError(f"SQLite: {error}") from error
        except OSError:
            self._disk_failed = True
            raise

    def _open_part(self) -> Writer:
        plugin = StoragePlugin.MCAP if self._storage == "mcap" else StoragePlugin.SQLITE3
        path = self.folder / f"{self.folder.name}_{len(self._parts)}"
        writer = Writer(path, version=METADATA_VERSION, storage_plugin=plugin)
        writer.open()
        if isinstance(writer.storage, Sqlite3Writer):
            # As rosbag2 does: waiting for the disk at every commit would cost frames.
            writer.storage.conn.execute("PRAGMA synchronous=OFF")
        self._connections, self._written = {}, 0
        return writer

    def _finish_part(self) -> None:
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        start, end = writer.min_timestamp, writer.max_timestamp
        counts = {topic: writer.counts[connection.id] for topic, connection in self._connections.items()}
        assert writer.storage is not None
        file = writer.storage.path
        writer.close()
        if self._disk_failed:  # messages of this part are lost, even if it looks complete
            return
        with file.open("rb") as written:
            os.fsync(written.fileno())
        file.replace(self.folder / file.name)
        shutil.rmtree(writer.path)
        self._parts.append(_Part(file.name, start, end, counts))
        self._write_metadata()

    def _write_metadata(self) -> None:
        metadata = yaml.safe_dump({"rosbag2_bagfile_information": self._metadata()}, sort_keys=False)
        replace_file(self.folder / METADATA, metadata.encode())

    def _metadata(self) -> dict[str, Any]:
        """Return the metadata as rosbag2's ``yaml.hpp`` reads it."""
        return {
            "version": METADATA_VERSION,
            "storage_identifier": self._storage,
            **_time_span(self._parts),
            "topics_with_message_count": [
                {
                    "topic_metadata": {
                        "name": topic,
                        "type": type_name,
                        "serialization_format": "cdr",
                        "offered_qos_profiles": dump_qos_v8(list(qos)),
                        "type_description_hash": types.hash_rihs01(type_name),
                    },
                    "message_count": sum(part.counts.get(topic, 0) for part in self._parts),
                }
                for topic, (type_name, types, _, qos) in self._topics.items()
            ],
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [part.name for part in self._parts],
            "files": [{"path": part.name, **_time_span([part])} for part in self._parts],
            "custom_data": {},
            "ros_distro": os.environ.get("ROS_DISTRO", "rosbags"),
        }


def _time_span(parts: Sequence[_Part]) -> dict[str, Any]:
    start, end = min(part.start for part in parts), max(part.end for part in parts)
    return {
        "duration": {"nanoseconds": end - start},
        "starting_time": {"nanoseconds_since_epoch": start},
        "message_count": sum(count for part in parts for count in part.counts.values()),
    }


@cache
def _standard_types() -> Typestore:
    return get_typestore(Stores.LATEST)


def _types_of(type_name: str, definition: str) -> Typestore:
    """Return a type store that contains ``type_name``, from ``definition`` if it is not empty.

    Raises:
        UnknownType: there is no definition, or it cannot be read.
    """
    if not definition:
        if type_name in _standard_types().types:
            return _standard_types()
        raise UnknownType(f"the definition of its type {type_name} is missing, and it is not one of ROS 2's own")
    types = get_typestore(Stores.EMPTY)
    try:
        if definition.startswith(IDL_HEADER):
            for text in filter(str.strip, _IDL_HEADER_LINE.split(_IDL_INCLUDE.sub("", definition))):
                types.register(get_types_from_idl(text))
        else:
            types.register(get_types_from_msg(definition, type_name))
        types.hash_rihs01(type_name)
    except Exception as error:  # the parser raises its own errors, and KeyError for types that are not defined
        raise UnknownType(f"the definition of its type {type_name} cannot be read: {error!r}") from error
    return types

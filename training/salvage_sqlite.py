# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of a rosbag2 SQLite file that is cut off, damaged, or was left behind by a killed recording."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mdflow_training.bag_message import RawMessage, canonical_type

# A page of the message table that is gone takes that many messages with it at most; give up after more.
MOST_MISSING_IN_A_ROW = 10_000


def unfinished_companions(path: Path) -> list[Path]:
    """Return the journals beside a SQLite file that hold what a killed recording had not yet merged or undone."""
    companions = [path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")]
    return [companion for companion in companions if companion.is_file() and companion.stat().st_size]


def salvage_sqlite(path: Path, losses: list[str]) -> Iterator[RawMessage]:
    """Yield the messages in the order of recording; ``losses`` gets a line on what could not be read.

    SQLite itself brings a file with a journal into order, but writes to it. That is done on a temporary copy.
    """
    companions = unfinished_companions(path)
    if not companions:
        yield from _rows(path, f"file:{path}?immutable=1", path, losses)
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in (path, *companions):
            shutil.copyfile(file, Path(folder, file.name))
        copy = Path(folder, path.name)
        yield from _rows(copy, f"file:{copy}", path, losses)


def _rows(file: Path, uri: str, path: Path, losses: list[str]) -> Iterator[RawMessage]:
    with closing(sqlite3.connect(uri, uri=True)) as database:
        try:
            # Lets SQLite open a file that is shorter than its header says.
            database.execute("PRAGMA writable_schema=ON")
            topics = {
                key: (str(name), canonical_type(str(type_name)))
                for key, name, type_name in database.execute("SELECT id, name, type FROM topics")
            }
        except sqlite3.DatabaseError as error:
            losses.append(f"{path}: its table of topics is unreadable ({error}); nothing was read from it")
            return
        last, lost, missing_in_a_row = 0, 0, 0
        while missing_in_a_row < MOST_MISSING_IN_A_ROW:
            try:
                query = "SELECT id, topic_id, timestamp, data FROM messages WHERE id > ? ORDER BY id"
                for key, topic, time, data in database.execute(query, (last,)):
                    lost, missing_in_a_row, last = lost + missing_in_a_row, 0, key
                    if topic in topics and isinstance(data, bytes):
                        yield RawMessage(*topics[topic], time, data)
                break
            except sqlite3.DatabaseError:  # this row is unreadable, the next may not be
                last, missing_in_a_row = last + 1, missing_in_a_row + 1
        if lost or missing_in_a_row:
            losses.append(f"{path}: {lost} messages inside it and those after message {last} are unreadable")

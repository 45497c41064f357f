# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Find out whether the computer's clock was set back while a bag was recorded.

Bags are read in the order of their recording times. If these went back, that order mixes frames from before and after;
the order in the file is right.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

from mdflow_ros.core.stamps import NANOSECONDS
from mdflow_ros.recordings.bag_message import RawMessage

SET_BACK = 1_000_000_000
"""A larger step back, in ns, shows that the clock was set back; messages that arrive out of order differ by less."""

_LARGEST_STEP_BACK = """
    SELECT MAX(previous - timestamp)
    FROM (SELECT timestamp, LAG(timestamp) OVER (ORDER BY id) AS previous FROM messages)
"""


def may_be_set_back(reader: Ros1Reader | Ros2Reader) -> bool:
    """Return whether the index of an open ROS 2 file suggests it. A file with one topic after the other looks alike."""
    storage = None if isinstance(reader, Ros1Reader) else reader.storage
    if isinstance(storage, McapReader):
        chunks = sorted(storage.chunks, key=lambda chunk: chunk.chunk_start_offset)
        return any(first.message_end_time - second.message_start_time > SET_BACK for first, second in pairwise(chunks))
    if isinstance(storage, Sqlite3Reader) and storage.dbconn is not None:
        ((largest,),) = storage.dbconn.execute(_LARGEST_STEP_BACK)
        return isinstance(largest, int) and largest > SET_BACK
    return False


def seconds_set_back(messages: Iterable[RawMessage], topic: str | None) -> float:
    """Return the largest step back in time within a topic.

    Args:
        messages: in the order of the file.
        topic: the topic to examine; ``None`` for all.

    Returns:
        Seconds; 0 if it is less than `SET_BACK`.
    """
    last: dict[str, int] = {}
    longest = 0
    for message in messages:
        if topic in (None, message.topic):
            longest = max(longest, last.get(message.topic, message.time) - message.time)
            last[message.topic] = message.time
    return longest / NANOSECONDS if longest > SET_BACK else 0.0

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Copy every readable message of a damaged or unfinished bag into a new one."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from mdflow_ros.recordings.bag_message import CDR, RawMessage, decompress_message, zstd
from mdflow_ros.recordings.bag_parts import find_parts, open_parts
from mdflow_ros.recordings.frame import FrameSourceError
from mdflow_ros.recordings.writer import BagWriter, Storage, UnknownType


class Repair(NamedTuple):
    """The result of a repair: numbers of messages copied, by topic, and left out, by reason."""

    copied: Counter[str]
    left_out: Counter[str]


def repair_bag(damaged: Path, writer: BagWriter, warnings: list[str]) -> Repair:
    """Copy all messages that can be read, byte for byte, with the definitions of their types that the file holds.

    Args:
        damaged: a file or folder.
        writer: of the new bag; the caller closes it.
        warnings: receives a line for everything that cannot be read.

    Raises:
        FrameSourceError: there is no bag, or it is a ROS 1 bag.
        OSError: the disk is full or gone.
    """
    copied: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    refused: dict[str, str] = {}
    for part in open_parts(find_parts(damaged, warnings), warnings):
        if part.is_ros1:
            raise FrameSourceError(f"{part.path} is a ROS 1 bag; repair it with `rosbag reindex`")
        for message in part.messages(None, warnings):
            topic = message.topic
            if topic not in copied and topic not in refused:
                reason = _announce(writer, message)
                if reason is not None:
                    refused[topic] = reason
            if topic in refused:
                left_out[f"{topic}: {refused[topic]}"] += 1
                continue
            try:
                data = decompress_message(message.data)
            except zstd.ZstdError:
                left_out[f"{topic}: the compressed message is damaged"] += 1
                continue
            writer.write(topic, message.time, data)
            copied[topic] += 1
    return Repair(copied, left_out)


def _announce(writer: BagWriter, message: RawMessage) -> str | None:
    """Add the topic of a message to the new bag; return why it cannot be kept, or None."""
    if message.encoding != CDR:
        return f"it is encoded as {message.encoding}, and a ROS 2 bag holds {CDR}"
    try:
        writer.add_topic(message.topic, message.type_name, message.offered_qos, message.definition)
    except UnknownType as error:
        return str(error)
    return None


def repair_aside(damaged: Path, out: Path, storage: Storage, warnings: list[str]) -> Repair:
    """Repair into a new folder, which is removed if that fails; see `repair_bag`.

    Raises:
        FrameSourceError: see `repair_bag`.
        OSError: the folder exists, or the disk is full.
    """
    writer = BagWriter(out, storage)
    try:
        repair = repair_bag(damaged, writer, warnings)
        writer.close()
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return repair

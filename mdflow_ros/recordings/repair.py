# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Copy every readable message of a damaged or unfinished bag into a new one."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from rosbags.typesys import Stores, get_typestore

from mdflow_ros.recordings.bag_message import decompress_message, zstd
from mdflow_ros.recordings.bag_parts import BagPart, find_parts
from mdflow_ros.recordings.frame import FrameSourceError
from mdflow_ros.recordings.writer import BagWriter, Storage


def repair_bag(damaged: Path, writer: BagWriter, warnings: list[str]) -> Counter[str]:
    """Copy all messages that can be read.

    Args:
        damaged: a file or folder.
        writer: of the new bag; the caller closes it.
        warnings: gets a line for everything that was left out.

    Returns:
        The number of messages copied of each topic.

    Raises:
        FrameSourceError: there is no bag, or one of ROS 1.
    """
    known_types = get_typestore(Stores.LATEST).types
    copied: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for part in (BagPart(path) for path in find_parts(damaged, warnings)):
        if part.is_ros1:
            raise FrameSourceError(f"{part.path} is a ROS 1 bag; repair it with 'rosbag reindex'")
        for message in part.messages(None, warnings):
            if message.type_name not in known_types:
                left_out[f"{message.topic}: its type {message.type_name} is unknown here"] += 1
                continue
            try:
                data = decompress_message(message.data)
            except zstd.ZstdError:
                left_out[f"{message.topic}: damaged"] += 1
                continue
            if message.topic not in copied:
                writer.add_topic(message.topic, message.type_name)
            writer.write(message.topic, message.time, data)
            copied[message.topic] += 1
    warnings.extend(f"{count} messages of {reason}" for reason, count in left_out.items())
    return copied


def repair_aside(damaged: Path, out: Path, storage: Storage, warnings: list[str]) -> Counter[str]:
    """Repair into a new folder, of which nothing is left if that fails; see `repair_bag`.

    Raises:
        FrameSourceError: see `repair_bag`.
        OSError: the folder exists, or the disk is full.
    """
    writer = BagWriter(out, storage)
    try:
        copied = repair_bag(damaged, writer, warnings)
        writer.close()
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return copied

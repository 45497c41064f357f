# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write what is whole of a damaged or unfinished ROS 2 bag into a new one, which every tool of ROS 2 reads.

    python training/repair_bag.py drive --out drive_repaired

The damaged bag stays as it is. Training needs no repair: `frame_source` reads damaged bags by itself.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from pathlib import Path

from rosbags.typesys import Stores, get_typestore

from mdflow_training.frames.bag_parts import BagPart, find_parts
from mdflow_training.frames.frame import FrameSourceError
from mdflow_training.recording.bag_message import decompress_message, zstd
from mdflow_training.recording.bag_writer import STORAGES, BagWriter, Storage


def repair_bag(damaged: Path, writer: BagWriter, losses: list[str]) -> Counter[str]:
    """Copy all messages that can be read.

    Args:
        damaged: a file or folder.
        writer: of the new bag; the caller closes it.
        losses: gets a line for everything that was left out.

    Returns:
        The number of messages copied of each topic.

    Raises:
        FrameSourceError: there is no bag, or one of ROS 1.
    """
    known_types = get_typestore(Stores.LATEST).types
    copied: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for part in (BagPart(path) for path in find_parts(damaged, losses)):
        if part.is_ros1:
            raise FrameSourceError(f"{part.path} is a ROS 1 bag; repair it with 'rosbag reindex'")
        for message in part.messages(None, losses):
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
    losses.extend(f"{count} messages of {reason}" for reason, count in left_out.items())
    return copied


def repair_aside(damaged: Path, out: Path, storage: Storage, losses: list[str]) -> Counter[str]:
    """Repair into a new folder, of which nothing is left if that fails; see `repair_bag`.

    Raises:
        FrameSourceError: see `repair_bag`.
        OSError: the folder exists, or the disk is full.
    """
    writer = BagWriter(out, storage)
    try:
        copied = repair_bag(damaged, writer, losses)
        writer.close()
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return copied


def main(arguments: list[str] | None = None) -> int:
    """Repair a bag from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", type=Path, help="file or folder of a ROS 2 bag")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bag")
    parser.add_argument("--storage", choices=STORAGES, default=STORAGES[0], help="default %(default)s")
    options = parser.parse_args(arguments)
    losses: list[str] = []
    try:
        if options.out.absolute().is_relative_to(options.bag.absolute()):
            raise FileExistsError(f"{options.out} lies in the damaged bag itself: choose another --out")
        copied = repair_aside(options.bag, options.out, options.storage, losses)
    except (FrameSourceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for topic, count in copied.items():
        print(f"{topic}: {count} messages")
    for loss in losses:
        print(f"note: {loss}")
    if not copied:
        print(f"error: nothing of {options.bag} can be read", file=sys.stderr)
    return 0 if copied else 1


if __name__ == "__main__":
    sys.exit(main())

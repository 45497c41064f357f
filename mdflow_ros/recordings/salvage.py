# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read the messages of a bag file that rosbags refuses: truncated, without index, or damaged in the middle.

No other tool is needed, such as ``sqlite3 .recover``, ``mcap recover`` or ``rosbag reindex``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from mdflow_ros.recordings.bag_message import RawMessage, decompress_file
from mdflow_ros.recordings.salvage_mcap import salvage_mcap
from mdflow_ros.recordings.salvage_ros1 import salvage_ros1
from mdflow_ros.recordings.salvage_sqlite import salvage_sqlite


def salvage_messages(path: Path, warnings: list[str]) -> Iterator[RawMessage]:
    """Yield the readable messages of a bag file in file order, with at most one chunk in memory.

    Args:
        path: ``.mcap``, ``.db3``, ``.bag``, ``.bag.active``, or one of the first two as ``.zstd``.
        warnings: receives a line for each section that cannot be read.
    """
    if path.suffix == ".zstd":
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder, path.stem)
            decompress_file(path, plain)
            yield from salvage_messages(plain, warnings)
    elif path.suffix == ".mcap":
        yield from salvage_mcap(path, warnings)
    elif path.suffix == ".db3":
        yield from salvage_sqlite(path, warnings)
    else:
        yield from salvage_ros1(path, warnings)

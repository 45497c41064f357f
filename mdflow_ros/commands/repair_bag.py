# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write the readable messages of a damaged or unfinished ROS 2 bag into a new bag that every ROS 2 tool reads.

    python training/repair_bag.py drive --out drive_repaired

The damaged bag is not changed. All topics are copied byte for byte, with the type definitions in the bag. Training
needs no repair, because it reads damaged bags. Exit status: 0 every readable message was kept, 3 some could not be
kept, 1 nothing was written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mdflow_ros.recordings.frame import FrameSourceError
from mdflow_ros.recordings.repair import repair_aside
from mdflow_ros.recordings.writer import STORAGES

INCOMPLETE = 3
"""Exit status when readable messages could not be kept."""


def main(arguments: list[str] | None = None) -> int:
    """Repair a bag from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", type=Path, help="file or folder of a ROS 2 bag")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bag")
    parser.add_argument("--storage", choices=STORAGES, default=STORAGES[0], help="default %(default)s")
    options = parser.parse_args(arguments)
    warnings: list[str] = []
    try:
        if options.out.absolute().is_relative_to(options.bag.absolute()):
            raise FileExistsError(f"{options.out} is inside the damaged bag: choose another --out")
        copied, left_out = repair_aside(options.bag, options.out, options.storage, warnings)
    except (FrameSourceError, OSError) as error:
        # Writing to a full disk raises an error without the name of the file.
        unnamed = isinstance(error, OSError) and error.errno is not None and error.filename is None
        print(f"error: cannot write {options.out}: {error}" if unnamed else f"error: {error}", file=sys.stderr)
        return 1
    for topic, count in copied.items():
        print(f"{topic}: {count} messages")
    for warning in warnings:
        print(f"note: {warning}")
    for reason, count in left_out.items():
        print(f"error: {count} messages of {reason}", file=sys.stderr)
    if not copied:
        print(f"error: nothing of {options.bag} can be read", file=sys.stderr)
        return 1
    return INCOMPLETE if left_out else 0


if __name__ == "__main__":
    sys.exit(main())

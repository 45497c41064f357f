# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Record camera topics into a bag, to adapt the model to what the robot sees.

    python training/record_bag.py --topics /camera/image_raw --duration 120 --out drive
    ros2 run mdflow_ros record_bag --topics /camera/image_raw/compressed --out drive

Matches the QoS of the publishers, even if a camera comes back with another one, and stores the serialized messages
unchanged, with the camera_info next to each image topic. Ctrl-C, kill, or a lost terminal ends the recording properly;
kill -9 loses the last second. Exit status: 0 recorded to the end; 1 nothing recorded, the publisher vanished or changed
its type, or the disk is full; 2 an argument is wrong, or ROS cannot start.
"""

from __future__ import annotations

import argparse
import math
import sys
from datetime import datetime
from pathlib import Path

import rclpy

from mdflow_ros.core.stop_signal import StopSignal
from mdflow_ros.node.start import USAGE_ERROR, StartError, own_arguments, start
from mdflow_ros.recordings.recording import Recording
from mdflow_ros.recordings.topic_recorder import TopicError
from mdflow_ros.recordings.writer import STORAGES


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line without the ROS arguments."""
    parser = argparse.ArgumentParser(
        prog="record_bag", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    now = f"{datetime.now():recording_%Y-%m-%d_%H-%M-%S}"
    parser.add_argument(
        "--topics", nargs="+", action="extend", required=True, help="topics of any installed message type"
    )
    parser.add_argument("--duration", type=float, help="seconds to record; default: until Ctrl-C")
    parser.add_argument("--out", type=Path, default=Path(now), help="folder of the bag; default recording_<date>")
    parser.add_argument("--storage", choices=STORAGES, default=STORAGES[0], help="default %(default)s")
    parser.add_argument("--split-size", type=float, default=1000.0, help="size of a file in MB; default %(default)s")
    parser.add_argument("--disk-reserve", type=float, default=2.0, help="GB to leave free; default %(default)s")
    parser.add_argument("--wait", type=float, default=10.0, help="seconds to wait for the topics; default %(default)s")
    options = parser.parse_args(arguments)
    for name in ("duration", "split_size"):
        if getattr(options, name) is not None and not 0 < getattr(options, name) < math.inf:
            parser.error(f"--{name.replace('_', '-')} must be a positive number")
    for name in ("disk_reserve", "wait"):
        if not 0 <= getattr(options, name) < math.inf:
            parser.error(f"--{name.replace('_', '-')} must be 0 or a positive number")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Record from the command line; returns the exit status."""
    command_line = sys.argv if arguments is None else ["record_bag", *arguments]
    try:
        options = parse_arguments(own_arguments(command_line))
        node = start(lambda: rclpy.create_node("record_bag"), command_line)
        recording = Recording(node, options)
        StopSignal(recording.stop)
        return 0 if recording.run() else 1
    except (StartError, TopicError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR if isinstance(error, StartError) else 1
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())

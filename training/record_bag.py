# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Record camera topics into a bag, to adapt the model to what the robot sees.

    python training/record_bag.py --topics /camera/image_raw --duration 120 --out drive
    ros2 run mdflow_ros record_bag --topics /camera/image_raw/compressed --out drive

Subscribes as the publishers offer it and writes the messages as they came, with the camera_info beside each image
topic. Ctrl-C, kill, or a lost terminal end the recording properly; kill -9 costs the last second. Exit status: 0
recorded; 1 nothing recorded, or stopped before its time by a full disk.
"""

from __future__ import annotations

import argparse
import math
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType

import rclpy
from rclpy.exceptions import InvalidTopicNameException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rclpy.validate_topic_name import validate_topic_name

from mdflow_training.recording.bag_writer import STORAGES, BagWriter
from mdflow_training.recording.topic_recorder import TopicError, TopicRecorder

# Seconds between two looks at disk and topics, and between two lines where the output is no terminal.
PERIOD, LOG_PERIOD = 1.0, 10.0
# A camera that sends nothing for so long at the end has probably died.
SILENCE_SECONDS = 3.0
# The share of dropped messages from which on the user is told of the usual cause.
WORRYING_SHARE = 0.05
TRANSPORT_HINT = (
    "Large images of a best-effort camera get lost on Fast DDS' default transport: set "
    "FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA for the camera and for the recorder, and unset "
    "ROS_AUTOMATIC_DISCOVERY_RANGE, whose value LOCALHOST switches it off"
)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Recording:
    """One recording, from waiting for its topics to the last line printed.

    Args:
        node: an rclpy node of its own.
        options: of `parse_arguments`.
    """

    def __init__(self, node: Node, options: argparse.Namespace) -> None:
        self._options = options
        self._topics = list(dict.fromkeys(resolve_topic(node, topic) for topic in options.topics))
        self._writer = BagWriter(options.out, options.storage, round(options.split_size * 1e6))
        self._recorder = TopicRecorder(node, self._writer, self._disk_failed)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._start = self._end = time.monotonic()
        self._stopped_by: str | None = None
        self._in_time = True
        self._disk_error: OSError | None = None

    def run(self) -> bool:
        """Record until the time is over, the user stops it, or the disk is full.

        Returns:
            Whether something was recorded for as long as it was asked for.

        Raises:
            TopicError: a topic is missing or carries no images.
        """
        self._check_disk()
        self._wait_for_topics()
        if self._stopped_by is None:
            for topic in self._topics:
                self._recorder.subscribe_images(topic)
        self._start = time.monotonic()
        try:
            self._record()
        finally:
            self._close()
        return self._report()

    def stop(self, reason: str, in_time: bool = True) -> None:
        """End the recording at the next opportunity; the first reason counts."""
        if self._stopped_by is None:
            self._stopped_by, self._in_time = reason, in_time

    def _wait_for_topics(self) -> None:
        end = time.monotonic() + self._options.wait
        while missing := self._recorder.find_missing(self._topics):
            if self._stopped_by is not None:
                return
            if time.monotonic() > end:
                raise self._recorder.complain_about(missing)
            self._executor.spin_once(timeout_sec=0.1)

    def _record(self) -> None:
        status = StatusLine(self._writer, self._recorder)
        next_check = time.monotonic()
        while self._stopped_by is None:
            self._executor.spin_once(timeout_sec=0.1)
            now = time.monotonic()
            if self._options.duration is not None and now - self._start >= self._options.duration:
                self.stop(f"{self._options.duration:g} s are over")
            if now >= next_check:
                next_check = now + PERIOD
                self._flush()
                self._recorder.subscribe_new_camera_infos()
                self._check_disk()
                status.show(now - self._start)
        self._end = time.monotonic()
        status.end()

    def _flush(self) -> None:
        try:
            self._writer.flush()
        except OSError as error:
            self._disk_failed(error)

    def _close(self) -> None:
        try:
            self._writer.close()
        except OSError as error:
            self._disk_failed(error)

    def _check_disk(self) -> None:
        free = free_bytes(self._options.out)
        if free < self._options.disk_reserve * 1e9:
            self.stop(f"only {free / 1e9:.2f} GB are free on the disk, the reserve is --disk-reserve", in_time=False)

    def _disk_failed(self, error: OSError) -> None:
        self._disk_error = error
        self.stop(f"the disk failed: {error}", in_time=False)

    def _report(self) -> bool:
        counts = self._recorder.counts
        received = sum(count.received for count in counts.values())
        print(f"stopped: {self._stopped_by}")
        seconds = self._end - self._start
        for topic, count in counts.items():
            lost = "unknown" if count.dropped is None else count.dropped
            print(f"  {topic}: {count.received} messages, {count.received / seconds:.1f} Hz, dropped {lost}")
        dropped = sum(count.dropped or 0 for count in counts.values())
        if dropped > WORRYING_SHARE * received:
            print(f"{dropped} messages were lost, {received} came. {TRANSPORT_HINT}", file=sys.stderr)
        if not received:
            return False
        if (silence := self._end - self._recorder.last_received) > SILENCE_SECONDS:
            print(f"nothing came for the last {silence:.0f} s: did the camera stop?", file=sys.stderr)
        if self._disk_error is not None:
            print(
                f"the last of these messages are not on the disk. Training reads {self._options.out} as it is; "
                f"for other tools: repair_bag {self._options.out} --out NEW_FOLDER",
                file=sys.stderr,
            )
        print(f"  {self._writer.size() / 1e6:.1f} MB in {self._options.out}")
        return self._in_time


def resolve_topic(node: Node, name: str) -> str:
    """Return the full name of a topic.

    Raises:
        TopicError: ROS 2 allows no such name.
    """
    try:
        validate_topic_name(name)
        return node.resolve_topic_name(name)
    except InvalidTopicNameException as error:
        raise TopicError(f"no topic can be called '{name}': {error}") from error


class StatusLine:
    """The live line: rate, size, free disk, dropped. It overwrites itself on a terminal."""

    def __init__(self, writer: BagWriter, recorder: TopicRecorder) -> None:
        self._writer, self._recorder = writer, recorder
        self._terminal = sys.stdout.isatty()
        self._before = (0.0, 0, 0)

    def show(self, seconds: float) -> None:
        """Print the line, or leave it out where a log file had one recently."""
        if not self._terminal and seconds < self._before[0] + LOG_PERIOD:
            return
        counts = self._recorder.counts.values()
        received, size = sum(count.received for count in counts), sum(count.size for count in counts)
        passed = max(seconds - self._before[0], 1e-3)
        rate, throughput = (received - self._before[1]) / passed, (size - self._before[2]) / passed
        self._before = (seconds, received, size)
        line = (
            f"{seconds:6.0f} s  {received} messages  {rate:.1f} Hz  {throughput / 1e6:.1f} MB/s  "
            f"{self._writer.size() / 1e6:.0f} MB  free {free_bytes(self._writer.folder) / 1e9:.1f} GB  "
            f"dropped {sum(count.dropped or 0 for count in counts)}"
        )
        print(f"\r{line}\033[K" if self._terminal else line, end="" if self._terminal else "\n", flush=True)

    def end(self) -> None:
        """Leave the line on the terminal."""
        if self._terminal:
            print()


def free_bytes(path: Path) -> int:
    """Return the free space of the disk on which a path lies or will lie."""
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line, without what is for ROS."""
    parser = argparse.ArgumentParser(
        prog="record_bag", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    now = f"{datetime.now():recording_%Y-%m-%d_%H-%M-%S}"
    parser.add_argument("--topics", nargs="+", required=True, help="image topics, raw or compressed")
    parser.add_argument("--duration", type=float, help="seconds; without it until Ctrl-C")
    parser.add_argument("--out", type=Path, default=Path(now), help="folder of the bag; default recording_<date>")
    parser.add_argument("--storage", choices=STORAGES, default=STORAGES[0], help="default %(default)s")
    parser.add_argument("--split-size", type=float, default=1000.0, help="MB of a part; default %(default)s")
    parser.add_argument("--disk-reserve", type=float, default=2.0, help="GB to leave free; default %(default)s")
    parser.add_argument("--wait", type=float, default=10.0, help="seconds to wait for the topics; default %(default)s")
    options = parser.parse_args(arguments)
    for name in ("duration", "split_size"):
        if getattr(options, name) is not None and not 0 < getattr(options, name) < math.inf:
            parser.error(f"--{name.replace('_', '-')} must be a positive number")
    return options


@contextmanager
def _stop_on_signals(recording: Recording) -> Iterator[None]:
    """Let signals end the recording properly, a second one too."""

    def stop(number: int, _: FrameType | None) -> None:
        recording.stop(signal.Signals(number).name)

    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    signals = [number for number in STOP_SIGNALS if number is not signal.SIGHUP or not nohup]
    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: list[str] | None = None) -> int:
    """Record from the command line; returns the exit status."""
    command_line = sys.argv if arguments is None else ["record_bag", *arguments]
    options = parse_arguments(remove_ros_args(command_line)[1:])
    rclpy.init(args=command_line, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = rclpy.create_node("record_bag")
        recording = Recording(node, options)
        with _stop_on_signals(recording):
            try:
                return 0 if recording.run() else 1
            finally:
                rclpy.shutdown()  # while a further Ctrl-C does no harm
    except (TopicError, FileExistsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())

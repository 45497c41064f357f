# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""One recording: wait for the topics, write their messages, report progress."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from rclpy.exceptions import InvalidTopicNameException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.validate_topic_name import validate_topic_name

from mdflow_ros.node.transport import large_data_advice
from mdflow_ros.recordings.topic_recorder import TopicError, TopicRecorder
from mdflow_ros.recordings.writer import BagWriter

LOOK_PERIOD = 0.2
"""Seconds between checks of the publishers. If one returns with another QoS, its messages are lost until the check."""

PERIOD = 1.0
"""Seconds between two checks of the disk."""

LOG_PERIOD = 10.0
"""Seconds between two status lines if the output is not a terminal."""

SILENCE_SECONDS = 3.0
"""If nothing arrives for this long at the end, the camera has probably stopped."""

MAX_DROPPED_SHARE = 0.05
"""If a larger share of messages is dropped, the usual cause is shown."""

TRANSPORT_HINT = (
    f"Large images of a best-effort camera get lost on Fast DDS' default transport: {large_data_advice(os.environ)}"
)


class Recording:
    """One recording, from waiting for its topics to the last line printed.

    Args:
        node: an rclpy node that nothing else spins.
        options: from `parse_arguments`.
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
        self._problems: dict[str, None] = {}

    def run(self) -> bool:
        """Record until the time is over, the user stops it, or the disk is full.

        Returns:
            Whether every topic was recorded to the end, for the requested duration.

        Raises:
            TopicError: a topic is missing or cannot be recorded.
        """
        self._check_disk()
        self._wait_for_topics()
        if self._stopped_by is None:
            for topic in self._topics:
                self._recorder.record(topic)
        self._start = time.monotonic()
        try:
            self._record()
        finally:
            self._close()
        return self._report()

    def stop(self, reason: str, in_time: bool = True) -> None:
        """End the recording soon; only the first reason is reported."""
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
        next_check = next_look = time.monotonic()
        while self._stopped_by is None:
            self._executor.spin_once(timeout_sec=0.1)
            now = time.monotonic()
            if self._options.duration is not None and now - self._start >= self._options.duration:
                self.stop(f"{self._options.duration:g} s are over")
            if now >= next_look:
                next_look = now + LOOK_PERIOD
                self._warn(self._recorder.follow_publishers())
            if now >= next_check:
                next_check = now + PERIOD
                self._flush()
                self._check_disk()
                status.show(now - self._start)
        self._end = time.monotonic()
        status.end()

    def _warn(self, problems: list[str]) -> None:
        """Print each problem when it first appears, so that the user can react."""
        for problem in problems:
            if problem not in self._problems:
                print(f"warning: {problem}", file=sys.stderr)
                self._problems[problem] = None

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
        free, reserve = free_bytes(self._options.out) / 1e9, self._options.disk_reserve
        if free < reserve:
            left = f"only {free:.2f} GB of disk space is left"
            self.stop(f"{left}, less than --disk-reserve ({reserve:g} GB)", in_time=False)

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
        if dropped > MAX_DROPPED_SHARE * received:
            print(f"{dropped} messages were lost, {received} received. {TRANSPORT_HINT}", file=sys.stderr)
        if received and (silence := self._end - self._recorder.last_received) > SILENCE_SECONDS:
            self._problems[f"nothing was received in the last {silence:.0f} s: did the camera stop?"] = None
        for topic in self._topics:
            if topic in counts and not counts[topic].received:
                self._problems[f"no message was received on {topic}, although it is published"] = None
        for problem in self._problems:
            print(problem, file=sys.stderr)
        if self._disk_error is not None:
            print(
                f"the last messages could not be written. Training reads {self._options.out} as it is; "
                f"for other tools: repair_bag {self._options.out} --out NEW_FOLDER",
                file=sys.stderr,
            )
        if received:
            print(f"  {self._writer.size() / 1e6:.1f} MB in {self._options.out}")
        return bool(received) and self._in_time and not self._problems


def resolve_topic(node: Node, name: str) -> str:
    """Return the full name of a topic.

    Raises:
        TopicError: ROS 2 does not allow the name.
    """
    try:
        validate_topic_name(name)
        return node.resolve_topic_name(name)
    except InvalidTopicNameException as error:
        raise TopicError(f"no topic can be called '{name}': {error}") from error


class StatusLine:
    """The status line: rate, size, free disk space, dropped messages. On a terminal it is updated in place."""

    def __init__(self, writer: BagWriter, recorder: TopicRecorder) -> None:
        self._writer, self._recorder = writer, recorder
        self._terminal = sys.stdout.isatty()
        self._before = (0.0, 0, 0)

    def show(self, seconds: float) -> None:
        """Print the line; in a log file, only every `LOG_PERIOD` seconds."""
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
        """End the line on a terminal."""
        if self._terminal:
            print()


def free_bytes(path: Path) -> int:
    """Return the free space, in bytes, of the disk of a path, which may not exist yet."""
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free

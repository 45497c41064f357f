# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Receive images, flow and confidence like any consumer; measure, draw and record them.

Topics: ``image``, ``mdflow/flow``, ``mdflow/confidence``, ``mdflow/camera_info``, ``mdflow/previous_stamp`` and
``/diagnostics``. A pair is a flow and a confidence with equal stamps. Its latency is the time from the newer image's
stamp to the time at which both have been received. The recorder ends when the camera is gone and the node has reported
its last pairs, when nothing arrives for a while, or at Ctrl-C. It writes ``flow.mp4``, ``contact_sheet.png`` and
``summary.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, TimeReference
from std_msgs.msg import Header

from mdflow_ros.core.argument_types import positive
from mdflow_ros.core.atomic_files import finite_or_none, write_json
from mdflow_ros.core.image_decoding import MAX_PIXELS
from mdflow_ros.core.intensity import IntensityStretch
from mdflow_ros.core.stamps import NANOSECONDS, nanoseconds
from mdflow_ros.core.stop_signal import StopSignal
from mdflow_ros.demo.flow_pictures import (
    EvenSample,
    Moment,
    shrink_to_tile,
    write_contact_sheet,
)
from mdflow_ros.demo.flow_video import FlowVideo
from mdflow_ros.demo.measurements import Measurements
from mdflow_ros.node.executor import spin_until
from mdflow_ros.node.messages import read_field, stamp_of, to_frame
from mdflow_ros.node.start import USAGE_ERROR, StartError, own_arguments, start
from mdflow_ros.node.transport import large_data_advice

QUEUE_DEPTH = 30
REMEMBERED_IMAGES = 60
REMEMBERED_PAIRS = 30
TERMINAL_SECONDS = 0.25
LOG_SECONDS = 5.0
SETTLE_SECONDS = 1.5
"""A diagnostics message this long after the last pair counts all pairs; the node sends one per second."""
SILENT_SECONDS = 10.0
"""How long to wait for that message after the camera is gone."""
SHEET_MOMENTS = 6

Stamp = int
"""Nanoseconds, so that stamps compare exactly."""


@dataclass
class Parts:
    """The messages of one stamp received so far; ``seconds`` is set when the pair has been counted."""

    flow: Image | None = None
    confidence: Image | None = None
    older_stamp: Stamp | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class RememberedImage:
    """A received image: its number, counted from 1, and its pixels at the size of a tile."""

    number: int
    rgb: NDArray[np.uint8]


class FlowRecorder(Node):
    """The node with the subscribers, and the results of their messages."""

    def __init__(self, folder: Path) -> None:
        super().__init__("flow_recorder")
        self.measurements = Measurements()
        self.moments = EvenSample()
        self.video = FlowVideo(folder / "flow.mp4")
        self._stretch = IntensityStretch()
        self._images: dict[Stamp, RememberedImage] = {}
        self._parts: dict[Stamp, Parts] = {}
        self._last_pair = time.monotonic()
        self._last_node_report = 0.0
        self._cameras: set[str] = set()
        self._flow_nodes: set[str] = set()
        self._camera_gone_since: float | None = None
        images = self.create_subscription(Image, "image", self._on_image, qos_profile_sensor_data)
        self._image_topic = images.topic_name
        flow = self.create_subscription(Image, "mdflow/flow", self._on_flow, QUEUE_DEPTH)
        self._flow_topic = flow.topic_name
        self.create_subscription(Image, "mdflow/confidence", self._on_confidence, QUEUE_DEPTH)
        self.create_subscription(CameraInfo, "mdflow/camera_info", self._on_camera_info, QUEUE_DEPTH)
        self.create_subscription(TimeReference, "mdflow/previous_stamp", self._on_previous_stamp, QUEUE_DEPTH)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QUEUE_DEPTH)

    def is_finished(self, silence_timeout: float) -> bool:
        """Return whether no more messages are expected.

        Args:
            silence_timeout: seconds without a pair after which the recorder gives up on a camera that is still there.
        """
        now = time.monotonic()
        cameras = self._nodes_publishing(self._image_topic)
        self._cameras |= cameras
        self._flow_nodes |= self._nodes_publishing(self._flow_topic)
        if cameras or not self._cameras:
            self._camera_gone_since = None
            return now - self._last_pair > silence_timeout
        if self._camera_gone_since is None:
            self._camera_gone_since = now
        last_news = max(self._last_pair, self._camera_gone_since)
        return self._last_node_report > last_news + SETTLE_SECONDS or now > last_news + SILENT_SECONDS

    def _nodes_publishing(self, topic: str) -> set[str]:
        """Return the full names of the nodes that publish on a topic."""
        found = self.get_publishers_info_by_topic(topic)
        return {f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in found}

    def _on_image(self, message: Image) -> None:
        self.measurements.images_received += 1
        try:
            frame = to_frame(message, MAX_PIXELS, self._stretch)
        except ValueError as error:
            self.get_logger().warning(f"not drawn: {error}", throttle_duration_sec=5.0)
            return
        image = RememberedImage(self.measurements.images_received, shrink_to_tile(frame.image))
        _remember(self._images, frame.stamp, image, REMEMBERED_IMAGES)

    def _on_flow(self, message: Image) -> None:
        self._part_of("flow", message.header).flow = message
        self._complete(message.header)

    def _on_confidence(self, message: Image) -> None:
        self._part_of("confidence", message.header).confidence = message
        self._complete(message.header)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self.measurements.messages["camera_info"] += 1

    def _on_previous_stamp(self, message: TimeReference) -> None:
        self._part_of("previous_stamp", message.header).older_stamp = nanoseconds(message.time_ref)
        self._complete(message.header)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Read the status of the camera and of the flow node; other nodes also publish on this topic."""
        measurements = self.measurements
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            if status.name in self._cameras and "frames_published" in values:
                measurements.frames_published = int(values["frames_published"])
            if status.name in {f"{name}: flow" for name in self._flow_nodes}:
                self._last_node_report = time.monotonic()
                measurements.pairs_computed = int(values["pairs_computed"])
                measurements.backend = values.get("backend")
                measurements.model_sha256 = values.get("model_sha256")

    def _part_of(self, topic: str, header: Header) -> Parts:
        self.measurements.messages[topic] += 1
        stamp = stamp_of(header)
        if stamp not in self._parts:
            _remember(self._parts, stamp, Parts(), REMEMBERED_PAIRS)
        return self._parts[stamp]

    def _complete(self, header: Header) -> None:
        """Count a pair once it has flow and confidence; draw it once its older image is known, too."""
        stamp = stamp_of(header)
        parts = self._parts[stamp]
        if parts.flow is None or parts.confidence is None:
            return
        if parts.seconds is None:
            now = self.get_clock().now().nanoseconds
            newer = self._images.get(stamp)
            confidence = read_field(parts.confidence, 1)
            parts.seconds = self.measurements.add_pair(
                received=time.monotonic(),
                latency=(now - stamp) / NANOSECONDS,
                confidence=float(np.nanmean(confidence)),
                frame_number=None if newer is None else newer.number,
            )
            self._last_pair = time.monotonic()
            self.measurements.size = (parts.flow.height, parts.flow.width)
        if parts.older_stamp in self._images:
            moment = Moment(
                parts.seconds,
                self._images[parts.older_stamp].rgb,
                shrink_to_tile(read_field(parts.flow, 2)),
                shrink_to_tile(read_field(parts.confidence, 1)),
            )
            del self._parts[stamp]
            self.moments.add(moment)
            self.video.add(moment)


def _remember(memory: dict[Stamp, Any], stamp: Stamp, value: Any, limit: int) -> None:
    """Add an entry; the oldest ones are dropped if there are more than ``limit``."""
    memory[stamp] = value
    while len(memory) > limit:
        del memory[next(iter(memory))]


RESULTS = ("contact_sheet.png", "flow.mp4", "summary.json")


def write_results(recorder: FlowRecorder, summary: dict[str, Any], folder: Path) -> None:
    """Write the contact sheet and the summary."""
    moments = recorder.moments.pick(SHEET_MOMENTS)
    if moments:
        height, width = recorder.measurements.size
        model = (summary["model_sha256"] or "unknown")[:12]
        lines = (
            f"{width}x{height}   {summary['rate_hz']:.1f} Hz   latency {summary['latency_ms_p50']:.0f} ms",
            f"{summary['backend'] or 'unknown backend'}   model {model}",
        )
        write_contact_sheet(folder / "contact_sheet.png", moments, "mdflow_ros", lines)
    write_json(folder / "summary.json", summary)


def judge(summary: dict[str, Any], minimum_share: float) -> str | None:
    """Return what is wrong with a run, or None.

    Args:
        summary: see `Measurements.summary`.
        minimum_share: the share of the computed pairs, 0 to 1, that must have arrived; 0 disables the check.
    """
    received, computed = summary["pairs_received"], summary["pairs_computed"]
    if received == 0:
        images = summary["messages_received"]["image"]
        return f"no flow was received, only {images} images, so nothing was written: is the node active? See its log"
    if minimum_share > 0 and computed is None:
        return "the node's diagnostics never arrived, so it is unknown how many pairs it computed"
    if received < minimum_share * (computed or 0):
        return f"only {received} of {computed} computed pairs arrived; for large images {large_data_advice(os.environ)}"
    return None


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="flow_recorder", description="Record flow.mp4, contact_sheet.png and summary.json from a running node."
    )
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder (default: demo_output)")
    parser.add_argument("--duration", type=positive, metavar="SECONDS", help="stop after this time")
    parser.add_argument(
        "--timeout",
        type=positive,
        default=60.0,
        metavar="SECONDS",
        help="stop when no flow arrives for this long (default: 60)",
    )
    parser.add_argument(
        "--minimum-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="fail if less than this share of the computed pairs arrives, such as 0.95",
    )
    return parser.parse_args(arguments)


def _record(recorder: FlowRecorder, options: argparse.Namespace, stop: StopSignal) -> None:
    """Receive until the end, with a status line: updated in place on a terminal, otherwise every few seconds."""
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)
    on_terminal = sys.stdout.isatty()
    before, after = ("\r\033[K", "") if on_terminal else ("", "\n")
    end = time.monotonic() + (options.duration or math.inf)

    def print_line() -> None:
        print(before + recorder.measurements.live_line(), end=after, flush=True)

    def is_over() -> bool:
        return stop.requested or time.monotonic() > end or recorder.is_finished(options.timeout)

    steady = Clock(clock_type=ClockType.STEADY_TIME)  # runs even if nobody publishes /clock
    recorder.create_timer(TERMINAL_SECONDS if on_terminal else LOG_SECONDS, print_line, clock=steady)
    spin_until(is_over, executor, recorder)
    if on_terminal:
        print()


def main(arguments: list[str] | None = None) -> int:
    """Run the recorder; return 1 if nothing arrived, or less than ``--minimum-share``."""
    arguments = sys.argv if arguments is None else arguments
    try:
        options = _parse(own_arguments(arguments))
        try:
            options.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"--output {options.output} cannot be a folder: {error.strerror}") from error
        recorder = start(lambda: FlowRecorder(options.output), arguments)
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    try:
        with recorder.video:
            _record(recorder, options, StopSignal())
        summary = recorder.measurements.summary()
        if summary["pairs_received"]:
            write_results(recorder, summary, options.output)
    finally:
        recorder.destroy_node()
        rclpy.try_shutdown()
    if summary["pairs_received"]:
        print(json.dumps(finite_or_none(summary), indent=2))
    fault = judge(summary, options.minimum_share)
    if fault is not None:
        print(fault, file=sys.stderr)
        return 1
    print(f"Results: {', '.join(str(path) for name in RESULTS if (path := options.output / name).exists())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

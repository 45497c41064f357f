# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Watch flow and confidence in the rerun viewer, live or of a recording.

    flow_rerun                                # the topics image, mdflow/flow and mdflow/confidence, until Ctrl-C
    flow_rerun drive.mcap --save flow.rrd     # the flow of a bag, a video or a folder of images; needs no ROS

ROS arguments remap the topics: flow_rerun --ros-args -r image:=/camera/image_raw
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from mdflow_ros.backends.backend import BackendError, BackendUnavailable
from mdflow_ros.core.frame_pairing import CameraFrame, FramePairer
from mdflow_ros.core.image_decoding import MAX_PIXELS
from mdflow_ros.demo.playback import read_frames
from mdflow_ros.demo.rerun_log import RerunLog
from mdflow_ros.estimator import FlowEstimator
from mdflow_ros.model.card import BUNDLED_MODEL

MAX_FRAME_GAP = 0.5
"""Longest time between the images of a pair of a recording, seconds."""

LOG_PERIOD = 5.0
"""Seconds between two log lines of the same warning."""


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line without ROS arguments."""
    parser = argparse.ArgumentParser(
        prog="flow_rerun", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", nargs="?", help="a recording; without it, the live topics are shown")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--save", type=Path, metavar="FILE", help="write an .rrd file instead of starting a viewer")
    output.add_argument("--connect", metavar="URL", help="send to a viewer that is running here or elsewhere")
    parser.add_argument("--model", type=Path, help="model for a recording; default: the bundled one")
    parser.add_argument("--quality", default="auto", help="quality for a recording; default %(default)s")
    return parser.parse_args(arguments)


def show_recording(log: RerunLog, options: argparse.Namespace) -> int:
    """Estimate the flow of a recording and log it; returns how many pairs there were.

    Raises:
        FrameSourceError: the recording cannot be read.
        ModelError: the model cannot be read.
        BackendUnavailable: no backend can run here.
        BackendError: inference failed.
    """
    estimator = FlowEstimator(options.model or BUNDLED_MODEL, quality=options.quality)
    pairer = FramePairer(max_frame_gap=MAX_FRAME_GAP)
    warnings: list[str] = []
    pairs = 0
    for frame in read_frames(options.source, warnings):
        log.log_image(frame.stamp, frame.rgb)
        # A video begins at 0, which means "no stamp" in ROS.
        current = CameraFrame(frame.rgb, frame.stamp + 1, frame_id="", encoding="rgb8")
        previous = pairer.push(current)
        if previous is None:
            continue
        estimate = estimator.estimate(previous.image, current.image)
        assert estimate.confidence is not None
        log.log_flow(frame.stamp, estimate.flow)
        log.log_confidence(frame.stamp, estimate.confidence)
        pairs += 1
    for warning in warnings:
        print(f"note: {warning}", file=sys.stderr)
    return pairs


def show_topics(log: RerunLog, arguments: list[str]) -> int:
    """Log what the flow node publishes, until Ctrl-C; returns the exit status."""
    # A recording needs no ROS.
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    from mdflow_ros.core.intensity import IntensityStretch
    from mdflow_ros.core.stop_signal import StopSignal
    from mdflow_ros.node.executor import spin_until
    from mdflow_ros.node.messages import read_field, stamp_of, to_frame
    from mdflow_ros.node.start import USAGE_ERROR, StartError, start

    stop, stretch = StopSignal(), IntensityStretch()
    try:
        node = start(lambda: rclpy.create_node("flow_rerun"), arguments)
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR

    def listen(topic: str, show: Callable[[Image], None]) -> None:
        def receive(message: Image) -> None:
            try:
                show(message)
            except ValueError as error:
                node.get_logger().warning(f"{topic}: {error}", throttle_duration_sec=LOG_PERIOD)

        node.create_subscription(Image, topic, receive, qos_profile_sensor_data)

    listen("image", lambda image: log.log_image(stamp_of(image.header), to_frame(image, MAX_PIXELS, stretch).image))
    listen("mdflow/flow", lambda flow: log.log_flow(stamp_of(flow.header), read_field(flow, 2)))
    listen("mdflow/confidence", lambda trust: log.log_confidence(stamp_of(trust.header), read_field(trust, 1)))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spin_until(lambda: stop.requested, executor, node)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    own = given[: given.index("--ros-args")] if "--ros-args" in given else given
    options = parse_arguments(own)
    log = RerunLog(options.save, options.connect)
    try:
        if options.source is None:
            return show_topics(log, given)
        pairs = show_recording(log, options)
        print(f"{pairs} pairs")
        return 0 if pairs else 1
    except (ValueError, BackendError, BackendUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        log.close()


if __name__ == "__main__":
    sys.exit(main())

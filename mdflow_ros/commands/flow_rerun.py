# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Show flow and confidence in the rerun viewer, live or from a recording.

    flow_rerun                                # the topics image, mdflow/flow and mdflow/confidence, until Ctrl-C
    flow_rerun drive.mcap --save flow.rrd     # the flow of a bag, a video or a folder of images; needs no ROS

ROS arguments remap the topics: flow_rerun --ros-args -r image:=/camera/image_raw
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain
from pathlib import Path

from mdflow_ros.backends.backend import BackendError, BackendUnavailable
from mdflow_ros.core.argument_types import positive
from mdflow_ros.core.atomic_files import written_aside
from mdflow_ros.core.frame_pairing import CameraFrame, FramePairer, ResetReason
from mdflow_ros.core.image_decoding import MAX_PIXELS
from mdflow_ros.demo.playback import read_frames
from mdflow_ros.demo.rerun_log import RerunLog
from mdflow_ros.estimator import FlowEstimate, FlowEstimator
from mdflow_ros.model.card import BUNDLED_MODEL
from mdflow_ros.recordings.source import parse_source

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
    parser.add_argument(
        "--max-frame-gap",
        type=positive,
        default=0.5,
        metavar="SECONDS",
        help="longest time between the images of a pair of a recording; default %(default)s",
    )
    return parser.parse_args(arguments)


def check_output(save: Path, source: str | None) -> None:
    """Refuse a file that cannot be written, or that belongs to the recording.

    Raises:
        FrameSourceError: there is no such recording.
        ValueError: the file is a folder, its folder does not exist, or it would overwrite the recording.
    """
    if save.is_dir():
        raise ValueError(f"--save {save} is a folder; name a file in it, such as {save / 'flow.rrd'}")
    if not save.parent.is_dir():
        raise ValueError(f"--save {save}: there is no folder {save.parent}; make it, or choose another file")
    for path in parse_source(source).paths if source else ():
        if save.resolve().is_relative_to(path.resolve()):
            raise ValueError(f"--save {save} would overwrite or lie inside the recording {path}; choose another file")


@contextmanager
def opened_log(options: argparse.Namespace) -> Iterator[RerunLog]:
    """Yield the log. A file replaces an existing one only when it is complete."""
    with written_aside(options.save) if options.save else nullcontext() as file:
        log = RerunLog(file, options.connect)
        try:
            yield log
        finally:
            log.close()


def estimate_pairs(
    options: argparse.Namespace, warnings: list[str]
) -> Iterator[tuple[CameraFrame, CameraFrame, FlowEstimate]]:
    """Yield the images of each pair of a recording and their flow.

    Raises:
        FrameSourceError: the recording cannot be read.
        ModelError: the model cannot be read.
        BackendUnavailable: no backend can run here.
        BackendError: inference failed.
        ValueError: the recording holds no pair.
    """
    estimator = FlowEstimator(options.model or BUNDLED_MODEL, quality=options.quality)
    pairer = FramePairer(options.max_frame_gap)
    pairs = 0
    for frame in read_frames(options.source, warnings):
        # A video begins at 0, which means "no stamp" in ROS.
        newer = CameraFrame(frame.rgb, frame.stamp + 1, frame_id="", encoding="rgb8")
        if (older := pairer.push(newer)) is not None:
            pairs += 1
            yield older, newer, estimator.estimate(older.image, newer.image)
    if not pairs:
        raise ValueError(f"{options.source} gives no pair of images: {_why_no_pair(pairer)}")


def _why_no_pair(pairer: FramePairer) -> str:
    if pairer.last_reason is ResetReason.FIRST_FRAME:
        return "fewer than two of its images can be read"
    if pairer.last_reason is ResetReason.GAP:
        return f"they are more than {pairer.max_frame_gap:g} s apart; raise --max-frame-gap"
    return pairer.last_reason.advice


def show_recording(options: argparse.Namespace) -> int:
    """Estimate the flow of a recording and log it; return the number of pairs. For errors see `estimate_pairs`."""
    parse_source(options.source)  # raises for a live camera, which is not a recording
    warnings: list[str] = []
    estimates = estimate_pairs(options, warnings)
    count, shown = 0, 0
    try:
        first = next(estimates)  # before a viewer starts or a file is written
        with opened_log(options) as log:
            for older, newer, estimate in chain([first], estimates):
                for image in (older, newer):
                    if image.stamp > shown:
                        log.log_image(image.stamp, image.image)
                shown = newer.stamp
                assert estimate.confidence is not None
                log.log_flow(newer.stamp, estimate.flow)
                log.log_confidence(newer.stamp, estimate.confidence)
                count += 1
    finally:
        for warning in warnings:
            print(f"note: {warning}", file=sys.stderr)
    return count


def show_topics(log: RerunLog, arguments: list[str]) -> int:
    """Log the flow node's topics until Ctrl-C; return the exit status."""
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
    listen("mdflow/confidence", lambda field: log.log_confidence(stamp_of(field.header), read_field(field, 1)))
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
    try:
        if options.save:
            check_output(options.save, options.source)
        if options.source is None:
            with opened_log(options) as log:
                return show_topics(log, given)
        print(f"{show_recording(options)} pairs")
        return 0
    except (ValueError, BackendError, BackendUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

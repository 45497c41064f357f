# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Publish a video, a camera, a folder of images or a bag as a ROS 2 camera.

Every image is stamped with the current time when the camera delivers it, or when it is due in the recording. Topics:
``camera/image_raw``, and ``/diagnostics`` with the number of published frames, once per second and at the end.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mdflow_ros.core.argument_types import at_least, positive
from mdflow_ros.core.resizing import shrink
from mdflow_ros.core.stamps import NANOSECONDS
from mdflow_ros.core.stop_signal import StopSignal
from mdflow_ros.demo.playback import SourceFrame, is_camera, read_frames
from mdflow_ros.node.messages import image_message
from mdflow_ros.node.start import USAGE_ERROR, StartError, own_arguments, start
from mdflow_ros.recordings.frame import FrameSourceError
from mdflow_ros.recordings.image_stamps import ASSUMED_INTERVAL

QUEUE_DEPTH = 10
POLL_SECONDS = 0.05
MATCH_SECONDS = 0.5
"""A publisher discovers its subscribers before they discover it; best-effort images sent in between are lost."""

MAX_REASONS = 5
"""Maximum number of reasons that are printed if no image can be read."""

UNKNOWN_INTERVAL = ASSUMED_INTERVAL / NANOSECONDS
"""Seconds between repetitions of a looped recording of a single image."""

DELIVERY_SECONDS = 2.0
"""How long to wait at the end for reliable subscribers to acknowledge the last messages."""


class PlayerError(RuntimeError):
    """The player must stop; the message says why and how to fix it."""


class CameraPlayer(Node):
    """The publishers of one camera."""

    def __init__(self, options: argparse.Namespace, stop: StopSignal) -> None:
        super().__init__("camera_player")
        self.frames_published = 0
        self._options = options
        self._stop = stop
        self._warnings: list[str] = []
        reliability = ReliabilityPolicy[options.reliability.upper()]
        qos = QoSProfile(depth=QUEUE_DEPTH, reliability=reliability)
        self._images = self.create_publisher(Image, "camera/image_raw", qos)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", QUEUE_DEPTH)
        self._last_report = 0.0

    def play(self) -> None:
        """Publish frame after frame until the source or the process ends.

        Raises:
            FrameSourceError: the source cannot be read.
            PlayerError: nobody subscribes in time.
        """
        frames = read_frames(self._options.source, self._warnings)
        first = next(frames, None)  # report a bad source before waiting for subscribers
        if first is None:
            reasons = "".join(f"\n  {warning}" for warning in dict.fromkeys(self._warnings[:MAX_REASONS]))
            raise FrameSourceError(f"{self._options.source} holds no images that can be read{reasons}")
        self._wait_for_subscribers()
        for frame, due in self._schedule(first, frames):
            max_width = self._options.max_width
            rgb = frame.rgb if max_width is None else shrink(frame.rgb, max_width)
            while (left := due - time.monotonic()) > 0 and not self._stop.requested:
                time.sleep(min(left, POLL_SECONDS))
            if self._stop.requested:
                break
            self._publish(rgb)
            self._report()
        self._report(final=True)
        for warning in dict.fromkeys(self._warnings):
            self.get_logger().warning(warning)

    def _schedule(self, frame: SourceFrame, frames: Iterator[SourceFrame]) -> Iterator[tuple[SourceFrame, float]]:
        """Yield each frame with the monotonic time at which it is due; the frames of a live camera are due at once."""
        live = is_camera(self._options.source)
        due, interval = time.monotonic(), UNKNOWN_INTERVAL
        previous = frame
        yield frame, due
        while True:
            for frame in frames:
                interval = self._interval(previous, frame, interval)
                due = time.monotonic() if live else due + interval
                previous = frame
                yield frame, due
            if not self._options.loop:
                return
            self._warnings[:] = dict.fromkeys(self._warnings)  # every pass repeats them
            frames = read_frames(self._options.source, self._warnings)

    def _interval(self, previous: SourceFrame, frame: SourceFrame, last: float) -> float:
        """Return the seconds between two frames of a recording; where it starts again, the last interval."""
        if self._options.rate is not None:
            return 1.0 / self._options.rate
        gap = frame.stamp - previous.stamp
        return gap / NANOSECONDS if gap > 0 else last

    def _wait_for_subscribers(self) -> None:
        wanted = self._options.wait_for_subscribers
        deadline = time.monotonic() + self._options.wait_timeout
        while not self._stop.requested and self._images.get_subscription_count() < wanted:
            if time.monotonic() > deadline:
                raise PlayerError(
                    f"{self._images.get_subscription_count()} of {wanted} subscribers on {self._images.topic_name} "
                    f"after {self._options.wait_timeout:g} s: are they running, with the same ROS_DOMAIN_ID?"
                )
            time.sleep(POLL_SECONDS)
        if wanted:
            time.sleep(MATCH_SECONDS)

    def _publish(self, rgb: NDArray[np.uint8]) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._options.frame_id)
        self._images.publish(image_message(header, rgb))
        self.frames_published += 1

    def _report(self, final: bool = False) -> None:
        """Publish the diagnostics once per second, and at the end (``final``)."""
        now = time.monotonic()
        if not final and now - self._last_report < 1.0:
            return
        self._last_report = now
        values = [
            KeyValue(key="frames_published", value=str(self.frames_published)),
            KeyValue(key="source", value=self._options.source),
        ]
        status = DiagnosticStatus(
            name=self.get_fully_qualified_name(), message="done" if final else "playing", values=values
        )
        self._diagnostics.publish(
            DiagnosticArray(header=Header(stamp=self.get_clock().now().to_msg()), status=[status])
        )
        if final:
            for publisher in (self._images, self._diagnostics):
                publisher.wait_for_all_acked(Duration(seconds=DELIVERY_SECONDS))


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="camera_player", description="Publish a recording or a camera as sensor_msgs/Image on camera/image_raw."
    )
    parser.add_argument("source", help="camera index, video file, folder of images, or bag")
    parser.add_argument("--rate", type=positive, help="frames per second (default: as recorded; ignored for a camera)")
    parser.add_argument("--loop", action="store_true", help="start again at the end")
    parser.add_argument("--max-width", type=at_least(1), help="scale wider images down to this many pixels")
    parser.add_argument("--frame-id", default="camera", help="header.frame_id (default: camera)")
    parser.add_argument(
        "--reliability",
        choices=("best_effort", "reliable"),
        default="best_effort",
        help="of the image publisher (default: best_effort, as in camera drivers)",
    )
    parser.add_argument(
        "--wait-for-subscribers", type=int, default=0, metavar="N", help="start when the images have N subscribers"
    )
    parser.add_argument(
        "--wait-timeout", type=positive, default=60.0, metavar="SECONDS", help="give up waiting (default: 60)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the player; return 1 when it cannot play."""
    arguments = sys.argv if arguments is None else arguments
    try:
        options = _parse(own_arguments(arguments))
        player = start(lambda: CameraPlayer(options, StopSignal()), arguments)
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    try:
        player.play()
    except (FrameSourceError, PlayerError) as error:
        player.get_logger().error(str(error))
        return 1
    finally:
        player.get_logger().info(f"{player.frames_published} frames published")
        player.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())

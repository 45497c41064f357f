# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A consumer that also needs the camera's motion, which may arrive after the flow."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.stamps import NANOSECONDS
from mdflow_ros.navigation.nodes.camera_motion import (
    MOTION_PARAMETERS,
    MotionSource,
    MotionUnavailable,
    motion_source,
)
from mdflow_ros.navigation.nodes.consumer import CALIBRATED, Consumer, PublishedFlow
from mdflow_ros.navigation.rigid_motion import CameraMotion
from mdflow_ros.node.parameters import Declaration

RETRY_PERIOD = 0.02
"""Seconds between two attempts to process the pairs that wait for the motion."""

MAX_WAITING = 10
"""Maximum number of waiting pairs; further ones are left out."""

MAX_WAIT = 1.0
"""A pair is dropped after this time, in seconds. Visual odometry arrives 0.1 to 0.3 s after the image."""


class MotionConsumer(Consumer):
    """Processes each pair when the camera's motion between its stamps is known; `process_motion` does the work."""

    PARAMETERS: ClassVar[Mapping[str, Declaration]] = {**CALIBRATED, **MOTION_PARAMETERS}

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._source = self.make_source()
        self._waiting: deque[tuple[float, PublishedFlow]] = deque()
        """Waiting pairs with the monotonic time of their arrival."""
        self._skipped = 0
        self._retry_timer = self.create_timer(RETRY_PERIOD, self._retry, clock=self.steady_clock)
        self._retry_timer.cancel()

    def make_source(self) -> MotionSource | None:
        """Return where the motion comes from, or ``None`` if pairs need no motion."""
        return motion_source(self)

    def process_motion(self, pair: PublishedFlow, motion: CameraMotion | None) -> None:
        """Process a pair and publish the results.

        Raises:
            ValueError: the pair cannot be used; the text says why.
        """
        raise NotImplementedError

    def on_pair(self, pair: PublishedFlow) -> None:
        """Queue the pair. If the queue is full, drop this pair, because the motion of the oldest one arrives first."""
        if self._source is None:
            self.process_motion(pair, None)
            return
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append((time.monotonic(), pair))
        else:
            self._skipped += 1
        self._retry()

    def unsubscribed(self) -> None:
        """Drop the waiting pairs, because nobody subscribes any more."""
        self._waiting.clear()
        self._retry_timer.cancel()

    def diagnostic_values(self) -> dict[str, str]:
        """Add the number of pairs that were left out because too many were waiting for their motion."""
        return {"pairs_skipped": str(self._skipped)}

    def _retry(self) -> None:
        self._give_up()
        while self._waiting and self._process_first():
            pass
        if self._waiting:
            self._retry_timer.reset()
        else:
            self._retry_timer.cancel()

    def _give_up(self) -> None:
        """Drop pairs that have waited too long."""
        while self._waiting and time.monotonic() - self._waiting[0][0] > MAX_WAIT:
            _, pair = self._waiting.popleft()
            assert self._source is not None
            self.report_problem(
                f"dropped the pair with stamp {pair.newer / NANOSECONDS:.3f} s after waiting {MAX_WAIT:g} s for "
                f"{self._source.waits_for()}"
            )

    def _robot_center(self, camera_frame: str) -> NDArray[np.float64] | None:
        """Return the robot's center in the camera's axes, ``(3,)`` meters, or ``None``, with a warning, if unknown."""
        assert self._source is not None
        try:
            return self._source.camera_pose(camera_frame).inverse().translation
        except MotionUnavailable as error:
            self.get_logger().warning(f"{error}. Until then the robot is assumed to turn around the camera.", once=True)
            return None

    def _process_first(self) -> bool:
        """Process the oldest waiting pair; return False if its motion is not known yet."""
        _, pair = self._waiting[0]
        assert self._source is not None
        with self.handling_pair():
            measured = self._source.motion(pair.older, pair.newer, pair.header.frame_id)
            if measured is None:
                return False
            translation, rotation = self.value("translation_sigma"), float(np.deg2rad(self.value("rotation_sigma")))
            center = self._robot_center(pair.header.frame_id)
            self.process_motion(pair, CameraMotion.with_sigmas(measured, translation, rotation, center))
        self._waiting.popleft()
        return True

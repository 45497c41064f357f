# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What the flow node reports on /diagnostics: why it idles, the state of its clock, and its counters."""

from __future__ import annotations

import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from mdflow_ros.node.camera_input import CameraInput
from mdflow_ros.node.diagnostics import FlowCounters, diagnostic_array
from mdflow_ros.node.pipeline import FlowPipeline
from mdflow_ros.node.publishers import FlowPublishers

NO_IMAGE_WARNING_SECONDS = 5.0
MAX_CONSECUTIVE_RESETS = 5
"""Diagnostics warn after more consecutive resets than this."""

MAX_LATENCY_MS = 60_000.0
"""A stamp that differs more than this from the node's clock comes from another clock."""

Status = tuple[bytes, str]
"""A level of DiagnosticStatus, and what to say."""


def describe_stamp_age(age_ms: float) -> str:
    """Describe the difference of a stamp from the node's clock; ``age_ms`` is negative for stamps in the future."""
    side = "before" if age_ms > 0 else "after"
    return f"header.stamp is {abs(age_ms) / 1e3:.0f} s {side} it, so the latency is unknown"


class StatusReporter:
    """Collects the state of the node's parts and publishes it on /diagnostics.

    Args:
        node: publishes and logs.
        counters: of images and pairs.
        pipeline: turns images into flow.
        camera: the subscriptions.
        outputs: the publishers.
    """

    def __init__(
        self,
        node: Node,
        counters: FlowCounters,
        pipeline: FlowPipeline,
        camera: CameraInput,
        outputs: FlowPublishers,
    ) -> None:
        self._node, self._counters, self._pipeline = node, counters, pipeline
        self._camera, self._outputs = camera, outputs
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._start_time = time.monotonic()
        self._stamp_age_ms: float | None = None
        self._has_duplicate_name = False

    def latency_ms(self, stamp: int) -> float | None:
        """Return the age of the image that was just published, or ``None`` if its stamp comes from another clock.

        Args:
            stamp: of the image, in nanoseconds.
        """
        now = self._node.get_clock().now().nanoseconds
        self._stamp_age_ms = (now - stamp) / 1e6 if now else None
        return None if self._has_foreign_stamps() else self._stamp_age_ms

    def publish(self, not_ready: Status | None, dropped: int) -> None:
        """Publish the diagnostics.

        Args:
            not_ready: why the node takes no images; ``None`` if it does.
            dropped: number of images that the worker dropped for newer ones.
        """
        self._look_for_duplicate_name()
        level, summary = not_ready or self._status()
        pairer, estimator = self._pipeline.pairer, self._pipeline.estimator
        values = {
            **self._counters.values(),
            "frames_dropped": str(dropped),
            "messages_lost": str(self._camera.image.messages_lost),
            "resets": str(sum(pairer.resets.values())),
            **{f"resets.{reason.value}": str(count) for reason, count in pairer.resets.items()},
            "model": estimator.card.name if estimator else "",
            "model_sha256": estimator.card.sha256 if estimator else "",
            "backend": estimator.backend if estimator else "",
            "camera_info": self._camera_info_state(),
            "clock": self._clock_state(),
            "idle_because": "" if level == DiagnosticStatus.OK and summary == "flowing" else summary,
        }
        stamp = self._node.get_clock().now().to_msg()
        name = f"{self._node.get_fully_qualified_name()}: flow"
        self._publisher.publish(diagnostic_array(stamp, name, self._camera.image.topic, level, summary, values))

    def _status(self) -> Status:
        """Return the status of a node that takes images."""
        if not self._outputs.has_subscribers():
            return DiagnosticStatus.OK, "nobody subscribes"
        now, last_frame = time.monotonic(), self._counters.last_frame_time
        if last_frame is None or now - last_frame > NO_IMAGE_WARNING_SECONDS:
            return DiagnosticStatus.WARN, self._camera.explain_silence(NO_IMAGE_WARNING_SECONDS)
        if self._pipeline.failure is not None:
            return DiagnosticStatus.ERROR, self._pipeline.failure
        if self._counters.last_refusal is not None:
            return DiagnosticStatus.ERROR, self._counters.last_refusal
        pairer = self._pipeline.pairer
        if pairer.consecutive_resets > MAX_CONSECUTIVE_RESETS:
            reason = pairer.last_reason
            count = pairer.consecutive_resets
            return DiagnosticStatus.WARN, f"no pair among the last {count} images ({reason.value}): {reason.advice}"
        if self._has_duplicate_name:
            return DiagnosticStatus.WARN, "another node has the same name; give each its own namespace"
        if self._counters.last_pair_has_contrast is False:
            return DiagnosticStatus.WARN, (
                "the images show no contrast, so their flow has no confidence: is the lens covered or the light off?"
            )
        if self._counters.inference_ms.summary(now) is None:
            return DiagnosticStatus.OK, "waiting for a pair"
        return DiagnosticStatus.OK, "flowing"

    def _camera_info_state(self) -> str:
        if self._camera.camera_info is None:
            return f"nothing received on {self._camera.camera_info_topic}"
        error = self._pipeline.calibration_error
        return f"ignored: {error}" if error else "received"

    def _has_foreign_stamps(self) -> bool:
        return self._stamp_age_ms is not None and abs(self._stamp_age_ms) > MAX_LATENCY_MS

    def _clock_state(self) -> str:
        simulated = bool(self._node.get_parameter("use_sim_time").value)
        if not simulated or self._node.get_clock().now().nanoseconds:
            name = "simulated time" if simulated else "system time"
            if not self._has_foreign_stamps():
                return name
            assert self._stamp_age_ms is not None
            return f"{name}; {describe_stamp_age(self._stamp_age_ms)}"
        if time.monotonic() - self._start_time > NO_IMAGE_WARNING_SECONDS:
            self._node.get_logger().warning(
                "use_sim_time is true, but nobody publishes /clock: flow is published, its latency is unknown. "
                "Play the bag with --clock, or set use_sim_time to false.",
                once=True,
            )
        return "waiting for /clock"

    def _look_for_duplicate_name(self) -> None:
        own = (self._node.get_name(), self._node.get_namespace())
        has_duplicate_name = self._node.get_node_names_and_namespaces().count(own) > 1
        if has_duplicate_name and not self._has_duplicate_name:
            self._node.get_logger().warning(
                f"another node is called {self._node.get_fully_qualified_name()}: services and parameters may reach "
                "either. Give each its own namespace, such as namespace:=left in the launch file."
            )
        self._has_duplicate_name = has_duplicate_name

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The topics that the node publishes for every pair."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, TimeReference
from std_msgs.msg import Float64, Header

from mdflow_ros.core.frame_pairing import NANOSECONDS
from mdflow_ros.node.camera_info import scaled_camera_info
from mdflow_ros.node.messages import image_message

DEPTH = 5
"""Messages kept for subscribers: with one, a big one is overtaken by the next before its lost parts are resent."""


class FlowOutputs:
    """Publishes what is subscribed to; all of a pair's messages with a header carry the newer image's.

    Args:
        node: the node, whose lifecycle switches the publishers.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._flow = self._publisher(node, Image, "~/flow")
        self._confidence = self._publisher(node, Image, "~/confidence")
        self._camera_info = self._publisher(node, CameraInfo, "~/camera_info")
        self._previous_stamp = self._publisher(node, TimeReference, "~/previous_stamp")
        self._latency = self._publisher(node, Float64, "~/latency_ms")
        self._inference = self._publisher(node, Float64, "~/inference_ms")
        self._all = (
            self._flow,
            self._confidence,
            self._camera_info,
            self._previous_stamp,
            self._latency,
            self._inference,
        )

    @staticmethod
    def _publisher(node: LifecycleNode, message_type: type[Any], topic: str) -> LifecyclePublisher[Any]:
        profile = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        overridable = QoSOverridingOptions.with_default_policies()
        return node.create_lifecycle_publisher(message_type, topic, profile, qos_overriding_options=overridable)

    def wanted(self) -> bool:
        """Whether anybody subscribes to anything."""
        return any(publisher.get_subscription_count() for publisher in self._all)

    def confidence_wanted(self) -> bool:
        """Whether anybody subscribes to the confidence."""
        return bool(self._confidence.get_subscription_count())

    def publish_pair(
        self,
        header: Header,
        previous_stamp: int,
        flow: NDArray[np.float32],
        confidence: NDArray[np.float32] | None,
        camera_info: CameraInfo | None,
    ) -> None:
        """Publish a pair.

        Args:
            header: the newer image's.
            previous_stamp: the older image's stamp, in nanoseconds.
            flow: ``(H, W, 2)``.
            confidence: ``(H, W)``, if it was computed.
            camera_info: the camera's calibration, if it is known.
        """
        height, width = flow.shape[:2]
        if camera_info is not None and self._camera_info.get_subscription_count():
            self._camera_info.publish(scaled_camera_info(camera_info, header, width, height))
        if self._previous_stamp.get_subscription_count():
            reference = TimeReference(header=header, source="previous image")
            reference.time_ref.sec, reference.time_ref.nanosec = divmod(previous_stamp, NANOSECONDS)
            self._previous_stamp.publish(reference)
        if confidence is not None and self.confidence_wanted():
            self._confidence.publish(image_message(header, confidence))
        if self._flow.get_subscription_count():
            self._flow.publish(image_message(header, flow))

    def publish_times(self, latency_ms: float, inference_ms: float) -> None:
        """Publish what the pair took, in milliseconds."""
        self._latency.publish(Float64(data=latency_ms))
        self._inference.publish(Float64(data=inference_ms))

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The topics that the node publishes for every pair."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNodeMixin, LifecyclePublisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, TimeReference
from std_msgs.msg import Float64

from mdflow_ros.core.resizing import size_of
from mdflow_ros.core.stamps import NANOSECONDS
from mdflow_ros.node.camera_info import resized_camera_info
from mdflow_ros.node.messages import BACKWARD, FORWARD, image_message
from mdflow_ros.node.pipeline import FlowResult
from mdflow_ros.node.qos import QUEUE_DEPTH


class FlowPublishers:
    """Publishes the topics that have subscribers. Headers are that of the newer image.

    Args:
        node: creates the publishers; they publish only while it is active.
    """

    def __init__(self, node: LifecycleNodeMixin) -> None:
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
    def _publisher(node: LifecycleNodeMixin, message_type: type[Any], topic: str) -> LifecyclePublisher[Any]:
        profile = QoSProfile(depth=QUEUE_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        overridable = QoSOverridingOptions.with_default_policies()
        return node.create_lifecycle_publisher(message_type, topic, profile, qos_overriding_options=overridable)

    def has_subscribers(self) -> bool:
        """Return whether any topic has a subscriber."""
        return any(publisher.get_subscription_count() for publisher in self._all)

    def confidence_has_subscribers(self) -> bool:
        """Return whether the confidence has a subscriber."""
        return bool(self._confidence.get_subscription_count())

    def publish_pair(self, pair: FlowResult) -> None:
        """Publish the topics of a pair that have subscribers."""
        header = pair.header
        if pair.camera_info is not None and self._camera_info.get_subscription_count():
            self._camera_info.publish(resized_camera_info(pair.camera_info, header, size_of(pair.flow)))
        if self._previous_stamp.get_subscription_count():
            reference = TimeReference(header=header, source=BACKWARD if pair.backward else FORWARD)
            reference.time_ref.sec, reference.time_ref.nanosec = divmod(pair.previous_stamp, NANOSECONDS)
            self._previous_stamp.publish(reference)
        if pair.confidence is not None and self.confidence_has_subscribers():
            self._confidence.publish(image_message(header, pair.confidence))
        if self._flow.get_subscription_count():
            self._flow.publish(image_message(header, pair.flow))

    def publish_times(self, latency_ms: float | None, inference_ms: float) -> None:
        """Publish the times of a pair; the latency only if it is known."""
        if latency_ms is not None:
            self._latency.publish(Float64(data=latency_ms))
        self._inference.publish(Float64(data=inference_ms))

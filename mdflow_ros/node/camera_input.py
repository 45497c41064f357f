# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Subscribe to the camera with matching QoS and type, and resubscribe when these change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.subscription import Subscription, SubscriptionEventCallbacks  # Humble has no rclpy.event_handler
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mdflow_ros.node.camera_info import camera_info_topic
from mdflow_ros.node.qos import QUEUE_DEPTH, matching_qos
from mdflow_ros.node.transport import transport_advice

IMAGE_TYPES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
CAMERA_INFO_TYPES = {"sensor_msgs/msg/CameraInfo": CameraInfo}

NO_PUBLISHER_SECONDS = 1.0
"""How long to wait for a publisher before subscribing without knowing what it offers."""

AUTO = "auto"
POLICIES = {
    "reliability": (AUTO, "reliable", "best_effort"),
    "durability": (AUTO, "volatile", "transient_local"),
    "history": ("keep_last", "keep_all"),
}


@dataclass(frozen=True)
class QosOverrides:
    """The values of the parameters ``qos_overrides.TOPIC.subscription.*``; ``auto`` follows the publishers."""

    reliability: str
    durability: str
    history: str
    depth: int

    @classmethod
    def declare(cls, node: Node, topic: str) -> QosOverrides:
        """Declare and read the parameters of a topic, given by its name after remapping.

        Raises:
            ValueError: a value is not allowed.
        """
        name = f"qos_overrides.{topic}.subscription"
        values: dict[str, Any] = {}
        for policy, choices in POLICIES.items():
            descriptor = ParameterDescriptor(read_only=True, description=f"One of: {', '.join(choices)}.")
            values[policy] = str(node.declare_parameter(f"{name}.{policy}", choices[0], descriptor).value).lower()
            if values[policy] not in choices:
                allowed = ", ".join(choices)
                raise ValueError(f"{name}.{policy} must be one of {allowed}, not '{values[policy]}'")
        depth = ParameterDescriptor(read_only=True, description="Length of the queue.")
        depth.integer_range = [IntegerRange(from_value=1, to_value=1000)]
        return cls(**values, depth=node.declare_parameter(f"{name}.depth", QUEUE_DEPTH, depth).value)

    def profile(self, offered: Sequence[QoSProfile]) -> QoSProfile:
        """Return the strictest profile that all publishers meet, unless a parameter says otherwise."""
        profile = matching_qos(offered, self.depth)
        profile.history = HistoryPolicy[self.history.upper()]
        if self.reliability != AUTO:
            profile.reliability = ReliabilityPolicy[self.reliability.upper()]
        if self.durability != AUTO:
            profile.durability = DurabilityPolicy[self.durability.upper()]
        return profile


class WatchedTopic:
    """A subscription that is renewed when the publishers' type or QoS changes.

    Args:
        node: the subscribing node.
        topic: resolved name.
        types: the message types that can be received, by name; the first is used while no publisher is known.
        callback: receives the messages.
    """

    def __init__(self, node: Node, topic: str, types: dict[str, type[Any]], callback: Callable[[Any], None]) -> None:
        self.topic = topic
        self.messages_lost = 0
        self._qos_complaint = ""
        self._node, self._types, self._callback = node, types, callback
        self._overrides = QosOverrides.declare(node, topic)
        self._subscription: Subscription[Any] | None = None
        self._subscribed_as: tuple[str, QoSProfile] | None = None
        self._waiting_since: float | None = None

    @property
    def is_subscribed(self) -> bool:
        """Whether there is a subscription."""
        return self._subscription is not None

    @property
    def is_reliable(self) -> bool:
        """Whether there is a subscription and it is reliable."""
        return self._subscribed_as is not None and self._subscribed_as[1].reliability == ReliabilityPolicy.RELIABLE

    @property
    def qos_complaint(self) -> str:
        """What is wrong with the QoS of a current publisher; empty if all are compatible."""
        if self._subscribed_as is None:
            return ""
        offered = [publisher.qos_profile for publisher in self.publishers()]
        errors = [qos_check_compatible(qos, self._subscribed_as[1])[0] == QoSCompatibility.ERROR for qos in offered]
        return self._qos_complaint if any(errors) else ""

    def publishers(self) -> list[TopicEndpointInfo]:
        """Return the publishers of the topic."""
        return list(self._node.get_publishers_info_by_topic(self.topic))

    def refresh(self) -> None:
        """Subscribe, or subscribe again if the publishers now offer another type or QoS."""
        publishers = self.publishers()
        readable = [publisher for publisher in publishers if publisher.topic_type in self._types]
        if not readable and not self._may_subscribe_blindly():
            return
        offered_types = {publisher.topic_type for publisher in readable}
        preferred = next(name for name in self._types if name in offered_types or not offered_types)
        profile = self._overrides.profile([p.qos_profile for p in readable if p.topic_type == preferred])
        if self._subscribed_as == (preferred, profile):
            return
        self.close()
        events = SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos)
        # rmw implementations without this event make rclpy raise.
        events.message_lost = self._on_message_lost if "fastrtps" in get_rmw_implementation_identifier() else None
        self._subscription = self._node.create_subscription(
            self._types[preferred], self.topic, self._callback, profile, event_callbacks=events
        )
        self._subscribed_as = preferred, profile
        if readable:
            reliability = profile.reliability.name.lower().replace("_", " ")
            self._node.get_logger().info(f"listening to {self.topic} ({preferred}, {reliability})")

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = self._subscribed_as = self._waiting_since = None
        self._qos_complaint = ""

    def _may_subscribe_blindly(self) -> bool:
        """Return whether to subscribe without knowing a publisher; an existing subscription is kept instead."""
        if self.is_subscribed:
            return False
        now = time.monotonic()
        self._waiting_since = self._waiting_since or now
        return now - self._waiting_since >= NO_PUBLISHER_SECONDS

    def _on_incompatible_qos(self, event: Any) -> None:
        policy = QoSPolicyKind(event.last_policy_kind).name.lower()  # Humble gives the number
        self._qos_complaint = (
            f"{event.total_count} publishers of {self.topic} offer an incompatible {policy} policy; "
            f"remove the parameter qos_overrides.{self.topic}.subscription.{policy}"
        )
        self._node.get_logger().warning(self._qos_complaint)

    def _on_message_lost(self, event: Any) -> None:
        self.messages_lost += event.total_count_change  # total_count restarts with each subscription


class CameraInput:
    """The camera's image and camera_info topics; unless remapped, camera_info is the topic next to the image.

    Args:
        node: the subscribing node.
        on_image: receives the images.
    """

    def __init__(self, node: Node, on_image: Callable[[Image | CompressedImage], None]) -> None:
        # A remapping of `image` applies to `image/compressed` only if the name is resolved first.
        base = node.resolve_topic_name("image")
        raw, compressed = IMAGE_TYPES
        self._topics = {
            False: WatchedTopic(node, base, IMAGE_TYPES, on_image),
            True: WatchedTopic(
                node,
                node.resolve_topic_name(f"{base}/compressed"),
                {compressed: CompressedImage, raw: Image},
                on_image,
            ),
        }
        info = node.resolve_topic_name("camera_info")
        if info == node.resolve_topic_name("camera_info", only_expand=True):  # not remapped
            info = camera_info_topic(base)
        self._infos = WatchedTopic(node, info, CAMERA_INFO_TYPES, self._on_camera_info)
        self._compressed = False
        self.camera_info: CameraInfo | None = None

    @property
    def image(self) -> WatchedTopic:
        """The image topic of the current transport."""
        return self._topics[self._compressed]

    @property
    def camera_info_topic(self) -> str:
        """The topic of the calibration."""
        return self._infos.topic

    def choose(self, compressed: bool) -> None:
        """Choose the transport, which takes effect at the next `refresh`."""
        if compressed != self._compressed:
            self.close()
            self._compressed = compressed

    def refresh(self) -> None:
        """Subscribe with the types and the QoS that the camera offers at present."""
        self.image.refresh()
        self._infos.refresh()

    def close(self) -> None:
        """Unsubscribe."""
        self.image.close()
        self._infos.close()

    def _on_camera_info(self, message: CameraInfo) -> None:
        self.camera_info = message

    def explain_silence(self, seconds: float) -> str:
        """Return the probable reason why no image has arrived for ``seconds``, and what to do."""
        topic, publishers = self.image.topic, self.image.publishers()
        no_image = f"no image on {topic} for {seconds:.0f} s"
        if not publishers:
            other = self._topics[not self._compressed]
            if other.publishers():
                transport = "raw" if self._compressed else "compressed"
                return f"{no_image}, but {other.topic} is published: set image_transport to {transport}"
            return f"{no_image}: nobody publishes it; remap `image` to the topic of your camera"
        if self.image.qos_complaint:
            return f"{no_image}: {self.image.qos_complaint}"
        if not any(publisher.topic_type in IMAGE_TYPES for publisher in publishers):
            types = ", ".join(sorted({publisher.topic_type for publisher in publishers}))
            return f"{no_image}: it carries {types}, not sensor_msgs/msg/Image; remap `image` to a topic of images"
        names = ", ".join(f"{p.node_name} ({p.topic_type}, {p.qos_profile.reliability.name})" for p in publishers)
        info = self.camera_info
        advice = transport_advice(
            os.environ,
            get_rmw_implementation_identifier(),
            info.width * info.height * 3 if info is not None else 0,
            self.image.is_reliable,
        )
        return f"{no_image}, published by {names}: is it sending? If it is, {advice}"

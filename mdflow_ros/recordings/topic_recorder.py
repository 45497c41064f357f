# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Subscribe to topics with the QoS of their publishers, and pass the serialized messages on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any, Protocol

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

from mdflow_ros.core.stamps import NANOSECONDS
from mdflow_ros.node.camera_info import camera_info_topic
from mdflow_ros.node.qos import matching_qos
from mdflow_ros.recordings.bag_message import IMAGE_TYPES
from mdflow_ros.recordings.message_definitions import installed_definition
from mdflow_ros.recordings.recording_clock import RecordingClock

CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"

QUEUE_DEPTH = 100
"""Number of messages that DDS queues while the disk is busy: 3 s of a 30 Hz camera."""

UNNUMBERED = 2**63
"""DDS implementations that do not number messages report the largest 64-bit number, which is above this."""


class TopicError(RuntimeError):
    """A topic cannot be recorded; the text says why, and lists the image topics if it is missing."""


class MessageSink(Protocol):
    """The receiver of the messages: a `BagWriter`."""

    def add_topic(self, topic: str, type_name: str, offered_qos: Sequence[Qos] = (), definition: str = "") -> None:
        """Announce a topic."""

    def write(self, topic: str, time: int, data: bytes) -> None:
        """Append a message, received at ``time`` in ns."""


@dataclass
class TopicCount:
    """Counts of the messages of a topic.

    Attributes:
        received: number of received messages.
        size: of all received messages, in bytes.
        dropped: number of messages that were sent but not received; None if messages have no numbers, as in Humble and
            with some DDS implementations.
    """

    received: int = 0
    size: int = 0
    dropped: int | None = None
    _numbers: dict[bytes, tuple[int, int, int]] = field(default_factory=dict)
    """Lowest and highest number from each publisher, and how many arrived; the order of arrival may differ."""

    def note(self, size: int, info: Mapping[str, Any]) -> None:
        """Count a message of ``size`` bytes; ``info`` has the number that its publisher gave it."""
        self.received += 1
        self.size += size
        number = info.get("publication_sequence_number")
        if number is None or number >= UNNUMBERED:
            return
        publisher = bytes((info.get("publisher_gid") or {}).get("data", b""))
        low, high, count = self._numbers.get(publisher, (number, number, 0))
        self._numbers[publisher] = min(low, number), max(high, number), count + 1
        self.dropped = sum(max(0, high - low + 1 - count) for low, high, count in self._numbers.values())


class TopicRecorder:
    """Records topics with the QoS of their publishers, and the camera_info next to each image topic.

    Args:
        node: subscribes; the caller spins it.
        sink: receives the messages.
        on_error: called with an OSError of the sink, if the disk is full or gone.
    """

    def __init__(self, node: Node, sink: MessageSink, on_error: Callable[[OSError], None]) -> None:
        self._node, self._sink, self._on_error = node, sink, on_error
        self._clock = RecordingClock(node.get_logger().warning)
        self._types: dict[str, str] = {}
        self._subscriptions: dict[str, tuple[QoSProfile, Subscription[Any]]] = {}
        self.counts: dict[str, TopicCount] = {}
        self.last_received = 0.0
        """Monotonic time of the last message, seconds."""

    def find_missing(self, topics: Sequence[str]) -> list[str]:
        """Return the topics that nobody publishes yet.

        Raises:
            TopicError: a topic has several types, or its type is not installed here.
        """
        missing = []
        for topic in topics:
            types = sorted({publisher.topic_type for publisher in self._node.get_publishers_info_by_topic(topic)})
            if len(types) > 1:
                raise TopicError(
                    f"{topic} is published with several types at once, {', '.join(types)}; stop the wrong publisher or "
                    "give it another topic"
                )
            if types:
                message_class(types[0])
            else:
                missing.append(topic)
        return missing

    def complain_about(self, missing: Sequence[str]) -> TopicError:
        """Return the error for topics that did not appear."""
        return TopicError(f"nobody publishes {', '.join(missing)}. {self._list_images()}")

    def record(self, topic: str) -> None:
        """Record a topic from now on.

        Raises:
            TopicError: its publisher vanished, or the topic cannot be recorded.
        """
        publishers = self._node.get_publishers_info_by_topic(topic)
        if not publishers:
            raise self.complain_about([topic])
        self._start(topic, publishers[0].topic_type)

    def follow_publishers(self) -> list[str]:
        """Subscribe again where a topic's publishers changed their QoS, and subscribe to new camera_info topics.

        A camera driver that is restarted may come back as best effort, which a reliable subscription never receives.

        Returns:
            A line for each topic that can no longer be recorded because its type has changed.

        Raises:
            TopicError: a topic without messages so far has several types.
        """
        self.find_missing([topic for topic in self._types if not self.counts[topic].received])
        problems = []
        for topic, type_name in self._types.items():
            publishers = self._node.get_publishers_info_by_topic(topic)
            other = sorted({publisher.topic_type for publisher in publishers} - {type_name})
            if other:
                problems.append(f"{topic} is now published as {', '.join(other)}; it was recorded as {type_name}")
            offered = [publisher.qos_profile for publisher in publishers if publisher.topic_type == type_name]
            profile, _ = self._subscriptions[topic]
            matching = matching_qos(offered, QUEUE_DEPTH)
            if offered and matching != profile:
                self._node.get_logger().info(f"{topic} is now published with another QoS; subscribing again")
                self._subscribe(topic, matching)
        images = [topic for topic, type_name in self._types.items() if type_name in IMAGE_TYPES]
        for topic in {camera_info_topic(image) for image in images} - set(self._types):
            publishers = self._node.get_publishers_info_by_topic(topic)
            if any(publisher.topic_type == CAMERA_INFO_TYPE for publisher in publishers):
                self._start(topic, CAMERA_INFO_TYPE)
        return problems

    def _start(self, topic: str, type_name: str) -> None:
        offered = [publisher.qos_profile for publisher in self._node.get_publishers_info_by_topic(topic)]
        try:
            profiles = [_to_rosbags(qos) for qos in offered]
            self._sink.add_topic(topic, type_name, profiles, installed_definition(type_name))
        except ValueError as error:  # the bag needs the definition of the type
            raise TopicError(f"{topic} cannot be recorded: {error}; record it with `ros2 bag record`") from error
        self.counts[topic] = TopicCount()
        self._types[topic] = type_name
        self._subscribe(topic, matching_qos(offered, QUEUE_DEPTH))

    def _subscribe(self, topic: str, profile: QoSProfile) -> None:
        if topic in self._subscriptions:
            self._node.destroy_subscription(self._subscriptions[topic][1])
        receive = partial(self._receive, topic)
        if not hasattr(Subscription, "CallbackType"):  # Humble passes the message alone
            receive = partial(receive, info={})
        subscription = self._node.create_subscription(
            message_class(self._types[topic]), topic, receive, profile, raw=True
        )
        self._subscriptions[topic] = (profile, subscription)

    def _receive(self, topic: str, data: bytes, info: Mapping[str, Any]) -> None:
        try:
            received = self._clock.time(info.get("received_timestamp") or time.time_ns())
            self._sink.write(topic, received, data)
        except OSError as error:
            self._on_error(error)
        else:
            self.counts[topic].note(len(data), info)
            self.last_received = time.monotonic()

    def _list_images(self) -> str:
        topics = [
            f"{name} ({types[0]})"
            for name, types in sorted(self._node.get_topic_names_and_types())
            if types[0] in IMAGE_TYPES and self._node.count_publishers(name)
        ]
        if topics:
            return f"Image topics now: {', '.join(topics)}"
        return (
            "No image topic is published now: is the camera running, with the same ROS_DOMAIN_ID and "
            "RMW_IMPLEMENTATION?"
        )


def message_class(type_name: str) -> type:
    """Return the Python class of a message type such as ``sensor_msgs/msg/Image``.

    Raises:
        TopicError: the package of the type is not installed here.
    """
    package, _, name = type_name.partition("/msg/")
    try:
        found: type = getattr(import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise TopicError(
            f"the message type {type_name} is not installed here: install the package {package} and source its "
            "workspace"
        ) from error
    return found


def _to_rosbags(qos: QoSProfile) -> Qos:
    deadline, lifespan, lease = (
        QosTime(*divmod(duration.nanoseconds, NANOSECONDS))
        for duration in (qos.deadline, qos.lifespan, qos.liveliness_lease_duration)
    )
    return Qos(
        QosHistory(int(qos.history)),
        qos.depth,
        QosReliability(int(qos.reliability)),
        QosDurability(int(qos.durability)),
        deadline,
        lifespan,
        QosLiveliness(int(qos.liveliness)),
        lease,
        qos.avoid_ros_namespace_conventions,
    )

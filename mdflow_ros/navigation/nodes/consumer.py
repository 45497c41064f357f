# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The base class of all consumers of the flow: parameters, subscriptions, diagnostics, startup and shutdown."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from numpy.typing import NDArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription, SubscriptionEventCallbacks  # Humble has no rclpy.event_handler
from sensor_msgs.msg import CameraInfo, Image, TimeReference
from std_msgs.msg import Header

from mdflow_ros.core.allocator import keep_freed_memory
from mdflow_ros.core.resizing import size_of
from mdflow_ros.core.stamps import NANOSECONDS, nanoseconds
from mdflow_ros.core.stop_signal import StopSignal
from mdflow_ros.navigation.camera import Camera
from mdflow_ros.navigation.matches import Matches, match
from mdflow_ros.navigation.nodes.conversions import camera_of
from mdflow_ros.navigation.nodes.synchronizer import ExactSynchronizer
from mdflow_ros.node.diagnostics import diagnostic_array
from mdflow_ros.node.executor import spin_until
from mdflow_ros.node.messages import BACKWARD, FORWARD, read_field, stamp_of
from mdflow_ros.node.parameters import Declaration, validate_parameters
from mdflow_ros.node.qos import QUEUE_DEPTH
from mdflow_ros.node.start import USAGE_ERROR, StartError, node_parser, own_arguments, start

POLL_PERIOD = 0.2
"""Seconds between two checks for subscribers."""

DIAGNOSTICS_PERIOD = 1.0
LOG_PERIOD = 5.0
"""Seconds between two log lines of the same warning."""

SILENCE_WARNING_SECONDS = 5.0
"""Diagnostics warn if no pair arrives for this long."""

MAX_CONFIDENCE = 1.001
"""Resizing can round a probability to slightly above 1; a larger value is a percentage or another measure."""

INPUTS: dict[str, type[Any]] = {
    "flow": Image,
    "confidence": Image,
    "camera_info": CameraInfo,
    "previous_stamp": TimeReference,
}
"""Outputs of the flow node, below ``mdflow/``; all of a pair carry the same header."""

COMMON = {
    "min_confidence": Declaration(
        0.5, "Minimum probability that a pixel's flow is right for it to be used.", minimum=0.0, maximum=1.0
    ),
}
CALIBRATED = {
    **COMMON,
    "rectified": Declaration(
        False, "Whether the camera's images are rectified: then P of camera_info is used, without distortion."
    ),
    "stride": Declaration(2, "Distance between the pixels that are used, in pixels.", minimum=1, maximum=16),
}


@dataclass(frozen=True, eq=False)
class PublishedFlow:
    """The flow node's outputs for a pair of images.

    Attributes:
        header: of the newer image.
        older: stamp of the older image, nanoseconds; 0 if the consumer does not subscribe to it.
        newer: stamp of the newer image, nanoseconds.
        flow: ``(H, W, 2)`` in pixels.
        confidence: ``(H, W)``, probability that the flow is right; all 1 if the consumer does not subscribe to it.
        camera: of images of the flow's size; ``None`` if the consumer does not subscribe to camera_info.
        backward: whether the flow leads from the newer to the older image; False if that is unknown.
    """

    header: Header
    older: int
    newer: int
    flow: NDArray[np.float32]
    confidence: NDArray[np.float32]
    camera: Camera | None
    backward: bool = False

    @property
    def interval(self) -> float:
        """Time between the images, seconds."""
        return (self.newer - self.older) / NANOSECONDS


class MissingPackage(RuntimeError):
    """A required ROS package is not installed; the text says what to do."""


class Consumer(Node):
    """A node that computes something from flow while its outputs have subscribers.

    A subclass declares `PARAMETERS`, creates its outputs with `output`, and implements `process`. Timers use a steady
    clock, so that they run even if nobody publishes /clock.

    Args:
        name: of the node.
        inputs: which of `INPUTS` it needs.
    """

    PARAMETERS: ClassVar[Mapping[str, Declaration]] = COMMON

    def __init__(self, name: str, inputs: tuple[str, ...] = tuple(INPUTS)) -> None:
        super().__init__(name)
        self.add_on_set_parameters_callback(self._check_parameters)
        for key, declaration in self.PARAMETERS.items():
            live = replace(declaration, live=True)  # a consumer has no lifecycle
            self.declare_parameter(key, declaration.default, live.descriptor())
        self._all_inputs = inputs
        self._synchronizer = ExactSynchronizer(inputs, self._on_set)
        self._inputs: dict[str, Subscription[Any]] = {}
        self._outputs: list[Publisher[Any]] = []
        self._camera: tuple[Any, Camera] | None = None
        self._published = 0
        self._is_pair_published = False
        self._last_heard: float | None = None
        """Monotonic time of the last pair since the node subscribed."""
        self._last_problem: str | None = None
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(POLL_PERIOD, self._poll, clock=self.steady_clock)
        self.create_timer(DIAGNOSTICS_PERIOD, self._publish_diagnostics, clock=self.steady_clock)

    def process(self, pair: PublishedFlow) -> None:
        """Process a pair and publish the results.

        Raises:
            ValueError: the pair, or a part of it, cannot be used; the text says why.
        """
        raise NotImplementedError

    def value(self, name: str) -> Any:
        """Return a parameter, as a float if its default is one, because message fields of floats refuse integers."""
        value = self.get_parameter(name).value
        return float(value) if isinstance(self.PARAMETERS[name].default, float) else value

    def output(self, message_type: type[Any], topic: str) -> Publisher[Any]:
        """Create a publisher. The node subscribes to its inputs only while an output has subscribers."""
        publisher = self.create_publisher(
            message_type,
            topic,
            QoSProfile(depth=QUEUE_DEPTH, reliability=ReliabilityPolicy.RELIABLE),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._outputs.append(publisher)
        return publisher

    def matches(self, pair: PublishedFlow) -> Matches:
        """Return the matches of a pair on the grid that the parameters describe."""
        assert pair.camera is not None
        return match(pair.flow, pair.confidence, pair.camera, self.value("stride"), pair.backward)

    def wanted_inputs(self) -> tuple[str, ...]:
        """Return the `INPUTS` that the outputs with subscribers need; by default all of the node's inputs."""
        return self._all_inputs

    def publish(self, output: Publisher[Any], message: Any) -> None:
        """Publish a message of the pair that is being handled."""
        output.publish(message)
        self._is_pair_published = True

    @contextmanager
    def handling_pair(self) -> Iterator[None]:
        """Count the pair if a message of it is published, and report an error, which must not end the node."""
        self._is_pair_published = False
        try:
            yield
        except Exception as error:
            known = isinstance(error, ValueError)
            self.report_problem(str(error) if known else f"unexpected {type(error).__name__}: {error}")
        else:
            if self._is_pair_published:
                self._last_problem = None
        self._published += self._is_pair_published
        self._is_pair_published = False

    def report_problem(self, problem: str) -> None:
        """Report why a pair was not used, to diagnostics and, throttled, to the log."""
        self._last_problem = problem
        self.get_logger().warning(problem, throttle_duration_sec=LOG_PERIOD)

    def unsubscribed(self) -> None:
        """Drop waiting data; called when the last subscriber has left."""

    def _check_parameters(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        error = validate_parameters(parameters, self.PARAMETERS)
        return SetParametersResult(successful=error is None, reason=error or "")

    def _poll(self) -> None:
        watched = any(output.get_subscription_count() for output in self._outputs)
        wanted = self.wanted_inputs() if watched else ()
        if wanted == tuple(self._inputs):
            return
        for subscription in self._inputs.values():
            self.destroy_subscription(subscription)
        self._synchronizer.restart(wanted)
        self._last_heard = self._last_problem = None
        self._inputs = self._subscribe(wanted)
        if not wanted:
            self.unsubscribed()

    def _subscribe(self, names: tuple[str, ...]) -> dict[str, Subscription[Any]]:
        profile = QoSProfile(depth=QUEUE_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        overridable = QoSOverridingOptions.with_default_policies()
        events = SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos)

        def listen(name: str) -> Subscription[Any]:
            def add(message: Any) -> None:
                self._synchronizer.add(name, message)

            return self.create_subscription(
                INPUTS[name],
                f"mdflow/{name}",
                add,
                profile,
                event_callbacks=events,
                qos_overriding_options=overridable,
            )

        return {name: listen(name) for name in names}

    def _on_incompatible_qos(self, event: Any) -> None:
        policy = QoSPolicyKind(event.last_policy_kind).name.lower()  # Humble gives the number
        self.report_problem(
            f"the flow node publishes with an incompatible {policy} policy: set the same policy for this node with "
            f"qos_overrides.{self.resolve_topic_name('mdflow/flow')}.subscription.{policy}, also for the other inputs"
        )

    def _on_set(self, messages: dict[str, Any]) -> None:
        self._last_heard = time.monotonic()
        with self.handling_pair():
            self.on_pair(self._pair(messages))

    def on_pair(self, pair: PublishedFlow) -> None:
        """Take the next pair; by default it is processed at once."""
        self.process(pair)

    def _pair(self, messages: dict[str, Any]) -> PublishedFlow:
        flow = messages["flow"]
        newer = stamp_of(flow.header)
        older, backward = 0, False
        if previous := messages.get("previous_stamp"):
            older, backward = nanoseconds(previous.time_ref), previous.source == BACKWARD
            if previous.source not in (FORWARD, BACKWARD):
                raise ValueError(
                    f"previous_stamp must name the direction of the flow in source, '{FORWARD}' or '{BACKWARD}', not "
                    f"'{previous.source}'"
                )
            if not older < newer:
                raise ValueError(f"the older image's stamp, {older}, is not before the newer's, {newer}")
        vectors, confidence = read_field(flow, 2), messages.get("confidence")
        pair = PublishedFlow(
            header=flow.header,
            older=older,
            newer=newer,
            flow=vectors,
            confidence=np.ones(vectors.shape[:2], np.float32) if confidence is None else read_field(confidence, 1),
            camera=self._camera_of(messages["camera_info"]) if "camera_info" in messages else None,
            backward=backward,
        )
        self._check_pair(pair)
        return pair

    def _check_pair(self, pair: PublishedFlow) -> None:
        size = size_of(pair.flow)
        if size_of(pair.confidence) != size or (pair.camera is not None and pair.camera.size != size):
            raise ValueError(
                f"the flow has {size.width}x{size.height} pixels, but confidence or camera_info has another size: "
                "remap all of them to the outputs of one flow node"
            )
        highest = float(np.fmax.reduce(pair.confidence, axis=None))
        if highest > MAX_CONFIDENCE:
            topic = self.resolve_topic_name("mdflow/confidence")
            raise ValueError(f"{topic} holds {highest:g}, but a probability is at most 1: remap it to the flow node's")

    def _camera_of(self, info: CameraInfo) -> Camera:
        rectified = self.value("rectified")
        key = (info.width, info.height, bytes(info.k), tuple(info.d), bytes(info.p), info.distortion_model, rectified)
        if self._camera is None or self._camera[0] != key:
            self._camera = (key, camera_of(info, rectified))
        return self._camera[1]

    def _publish_diagnostics(self) -> None:
        level, summary = self._status()
        values = {
            "pairs_received": str(self._synchronizer.sets),
            "pairs_incomplete": str(self._synchronizer.incomplete),
            "pairs_published": str(self._published),
            **self.diagnostic_values(),
        }
        name = self.get_fully_qualified_name()
        stamp = self.get_clock().now().to_msg()
        topic = self.resolve_topic_name("mdflow/flow")
        self._diagnostics.publish(diagnostic_array(stamp, f"{name}: navigation", topic, level, summary, values))

    def diagnostic_values(self) -> dict[str, str]:
        """Return further values for diagnostics."""
        return {}

    def _status(self) -> tuple[bytes, str]:
        if not self._inputs:
            return DiagnosticStatus.OK, "nobody subscribes"
        silence = 0.0 if self._last_heard is None else time.monotonic() - self._last_heard
        if silence <= SILENCE_WARNING_SECONDS:
            if self._last_problem is not None:
                return DiagnosticStatus.WARN, self._last_problem
            if self._last_heard is not None:
                return DiagnosticStatus.OK, "running"
        before = "" if self._last_problem is None else f" Before that: {self._last_problem}"
        return DiagnosticStatus.WARN, self._reason_of_silence(silence) + before

    def _reason_of_silence(self, silence: float) -> str:
        missing = self._synchronizer.missing()
        topics = ", ".join(self.resolve_topic_name(f"mdflow/{name}") for name in missing)
        if any(self._synchronizer.received.values()):
            if not missing:
                return "waiting for messages with one stamp"
            of_camera = "camera_info" in missing
            hint = "are all inputs those of one flow node?"
            if of_camera:
                hint = "the flow node says on /diagnostics what is wrong with the camera's camera_info"
            return f"no message on {topics}: {hint}"
        if self._last_heard is not None:
            return f"no flow for {silence:.0f} s: are the flow node and the camera running?"
        return f"waiting for {topics}"


def run(node_type: type[Consumer], description: str | None, arguments: list[str] | None = None) -> int:
    """Run a consumer until a signal stops it; return the exit status."""
    command_line = sys.argv if arguments is None else arguments
    stop = StopSignal()
    try:
        node_parser(description, node_type.PARAMETERS).parse_args(own_arguments(command_line))
        keep_freed_memory()
        node = start(node_type, command_line)
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spin_until(lambda: stop.requested, executor, node)
    executor.shutdown(timeout_sec=0)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0

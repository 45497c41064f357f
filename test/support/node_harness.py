# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Run the node as a separate process and talk to it over DDS, as a user's programs do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, TimeReference

PATIENCE = 20.0
"""How long anything may take before a test gives up, in seconds; generous, as CI machines are busy."""

ENVIRONMENT = {
    # Shared memory alone: nothing leaves this machine, and large best-effort images arrive. A discovery range of
    # LOCALHOST would make Fast DDS ignore the choice of transport.
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
    "FASTDDS_BUILTIN_TRANSPORTS": "SHM?sockets_size=16MB",
}

OUTPUTS = {"flow": Image, "confidence": Image, "camera_info": CameraInfo, "previous_stamp": TimeReference}


LOSE_NOTHING = [
    argument
    for topic in ("/image", "/image/compressed", "/left/image", "/right/image")
    for setting in ("depth:=10", "history:=keep_last", "reliability:=reliable")
    for argument in ("-p", f"qos_overrides.{topic}.subscription.{setting}")
]
"""By default the node listens to the newest image only; on a busy machine a test's image could be overtaken."""


@contextmanager
def running_node(
    domain: int, *ros_arguments: str, lose_nothing: bool = True, before: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """Run the flow node with ``--ros-args`` and end it by Ctrl-C; it must exit cleanly.

    ``before`` is Python to run in its process first. Afterwards ``process.printed`` is what it wrote to stderr.
    """
    environment = {**os.environ, **ENVIRONMENT, "ROS_DOMAIN_ID": str(domain)}
    program = f"{before}\nimport sys\nfrom mdflow_ros.node.flow_node import main\nsys.exit(main())"
    command = [sys.executable, "-c", program, "--ros-args", "-p", "backend:=onnxruntime"]
    command += LOSE_NOTHING if lose_nothing else []
    process = subprocess.Popen(
        [*command, *ros_arguments], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        process.printed = errors  # type: ignore[attr-defined]
    assert process.returncode == 0, errors
    assert "Traceback" not in errors, errors


class Client:
    """A camera and a consumer in one process: publishes images and collects the node's messages.

    Args:
        domain: ROS domain.
        namespace: of the node under test.
        outputs: which of `OUTPUTS` to subscribe to.
        reliability: of the camera.
        environment: variables to set before joining the graph.
    """

    def __init__(
        self,
        domain: int,
        namespace: str = "",
        outputs: tuple[str, ...] = tuple(OUTPUTS),
        reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE,
        environment: dict[str, str] = ENVIRONMENT,
    ) -> None:
        os.environ.update(environment)
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("client", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.namespace = namespace
        self.received: dict[str, list[Any]] = {name: [] for name in OUTPUTS}
        self.diagnostics: list[dict[str, str]] = []
        self._clients: dict[str, Any] = {}
        camera = QoSProfile(depth=10, reliability=reliability)
        self.image = self.node.create_publisher(Image, f"{namespace}/image", camera)
        self.compressed = self.node.create_publisher(CompressedImage, f"{namespace}/image/compressed", camera)
        self.camera_info = self.node.create_publisher(CameraInfo, f"{namespace}/camera_info", camera)
        for name in outputs:
            self.subscribe(name)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def subscribe(self, name: str) -> Any:
        """Subscribe to one output of the node."""
        topic = f"{self.namespace}/mdflow/{name}"
        return self.node.create_subscription(OUTPUTS[name], topic, self.received[name].append, 50)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f"{self.namespace}/mdflow:"):
                values = {pair.key: pair.value for pair in status.values}
                self.diagnostics.append({**values, "message": status.message, "level": str(status.level[0])})

    def spin_until(self, condition: Callable[[], object], what: str = "", patience: float = PATIENCE) -> None:
        """Receive until ``condition`` holds."""
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline, f"waited {patience:.0f} s for {what or condition}"
            self.executor.spin_once(timeout_sec=0.05)

    def spin_for(self, seconds: float) -> None:
        """Receive for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)

    def wait_until_listening(self, publisher: Any = None) -> None:
        """Wait until the node subscribes to the camera and knows all of this client's subscriptions."""
        self.spin_until((publisher or self.image).get_subscription_count, "the node to subscribe to the camera")
        self.spin_until(
            lambda: all(self.node.count_publishers(s.topic_name) for s in self.node.subscriptions), "the node's topics"
        )
        # The node hears of a subscription a moment after the client has heard of the publisher.
        self.spin_for(0.3)

    def publish(self, image: np.ndarray, stamp_ms: int, **overrides: Any) -> None:
        """Publish an rgb8 image stamped ``stamp_ms``; overrides are fields of the message."""
        message = image_message(image, stamp_ms)
        for field, value in overrides.items():
            if field == "frame_id":
                message.header.frame_id = value
            else:
                setattr(message, field, value)
        self.image.publish(message)
        # The node keeps the newest frame only: give it the time to take this one before the next.
        self.spin_for(0.15)

    def publish_and_wait(self, image: np.ndarray, stamp_ms: int, **overrides: Any) -> None:
        """Publish an image and wait for its flow."""
        before = len(self.received["flow"])
        self.publish(image, stamp_ms, **overrides)
        self.spin_until(lambda: len(self.received["flow"]) > before, f"flow for the image at {stamp_ms} ms")

    def latest_diagnostics(self) -> dict[str, str]:
        """Wait for the next diagnostics that were made after this call."""
        self.diagnostics.clear()
        self.spin_until(lambda: len(self.diagnostics) >= 2, "diagnostics")
        return self.diagnostics[-1]

    def call(self, service_type: type[Any], name: str, request: Any) -> Any:
        """Call a service of the node and return its response."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(service_type, f"{self.namespace}/mdflow/{name}")
            self.spin_until(self._clients[name].service_is_ready, f"service {name}")
            # The node hears of the client a moment later; until then answers are lost.
            self.spin_for(0.3)
        future = self._clients[name].call_async(request)
        self.spin_until(future.done, f"an answer of {name}")
        return future.result()

    def set_parameter(self, name: str, value: Any) -> Any:
        """Set a parameter of the node and return the result."""
        message = rclpy.Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[message])
        return self.call(SetParameters, "set_parameters", request).results[0]

    def state(self) -> str:
        """Return the node's lifecycle state."""
        return str(self.call(GetState, "get_state", GetState.Request()).current_state.label)

    def change_state(self, transition: int) -> bool:
        """Request a lifecycle transition."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, "change_state", request).success)

    def close(self) -> None:
        """Leave the ROS graph."""
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@contextmanager
def client(domain: int, **arguments: Any) -> Iterator[Client]:
    """Make a client and close it."""
    instance = Client(domain, **arguments)
    try:
        yield instance
    finally:
        instance.close()


def image_message(image: np.ndarray, stamp_ms: int, encoding: str = "rgb8") -> Image:
    """Return an image message in frame ``camera``."""
    height, width = image.shape[:2]
    message = Image(height=height, width=width, encoding=encoding, step=image.strides[0])
    message.header.frame_id = "camera"
    message.header.stamp.sec, milliseconds = divmod(stamp_ms, 1000)
    message.header.stamp.nanosec = milliseconds * 1_000_000
    message.data = array("B", image.tobytes())
    return message

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A process that answers images as the flow node does, with a flow of (+7, -3) px and a confidence of 0.75."""

from __future__ import annotations

import contextlib
import time

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, TimeReference

SHA256 = "0123456789abcdef" * 4


class StandIn(Node):
    def __init__(self) -> None:
        super().__init__("mdflow")
        self.older = None
        self.pairs = 0
        self.flow = self.create_publisher(Image, "mdflow/flow", 10)
        self.confidence = self.create_publisher(Image, "mdflow/confidence", 10)
        self.previous_stamp = self.create_publisher(TimeReference, "mdflow/previous_stamp", 10)
        self.diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.subscribing = self.create_timer(0.1, self.subscribe)
        self.create_timer(0.5, self.report)

    def subscribe(self) -> None:
        """Subscribe to the camera late, as the flow node does: here, once every output has a subscriber."""
        if all(output.get_subscription_count() for output in (self.flow, self.confidence, self.previous_stamp)):
            self.create_subscription(Image, "image", self.on_image, qos_profile_sensor_data)
            self.subscribing.cancel()

    def on_image(self, image: Image) -> None:
        older, self.older = self.older, image.header.stamp
        if older is None:
            return
        time.sleep(0.01)
        size = (image.height, image.width)
        self.publish(self.flow, image, "32FC2", np.broadcast_to(np.float32([7, -3]), (*size, 2)))
        self.publish(self.confidence, image, "32FC1", np.full(size, 0.75, np.float32))
        self.previous_stamp.publish(TimeReference(header=image.header, time_ref=older))
        self.pairs += 1

    def publish(self, publisher, image: Image, encoding: str, values: np.ndarray) -> None:
        step = 4 * values.size // image.height
        message = Image(header=image.header, height=image.height, width=image.width, encoding=encoding, step=step)
        message.data = values.astype(np.float32).tobytes()
        publisher.publish(message)

    def report(self) -> None:
        values = {"backend": "stand-in", "model_sha256": SHA256, "pairs_computed": str(self.pairs)}
        status = DiagnosticStatus(name="/mdflow: flow", values=[KeyValue(key=key, value=values[key]) for key in values])
        self.diagnostics.publish(DiagnosticArray(status=[status]))


if __name__ == "__main__":
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(StandIn())

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the running node: start-up time, rate, latency, latency without the estimator's time, and memory.

    python benchmarks/node_load.py --size 320 256 --rate 30

This process is the camera and a consumer; the node is another process, connected over DDS. The consumer keeps freed
memory, as the consumers of this package do; otherwise, its page faults would count as latency of the node. Close all
other programs before you rely on a number. The result is printed as JSON. Without ``--rate``, the next image is
published when the flow of the last image has arrived.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Float64, Header

from mdflow_ros.core.allocator import keep_freed_memory
from mdflow_ros.core.argument_types import at_least, positive
from mdflow_ros.core.resizing import Size
from mdflow_ros.node.messages import image_message, stamp_of
from mdflow_ros.node.transport import BUILTIN_TRANSPORTS

WARM_UP_PAIRS = 5
"""The first pairs do not count: they include memory allocation and discovery."""

MIN_PAIRS = WARM_UP_PAIRS + 2
"""Measuring a rate needs two pairs after the warm-up."""


SHARED_MEMORY = "SHM?sockets_size=16MB"
"""A transport of Fast DDS that loses no large images between processes of one machine."""


def moving_texture(size: Size, count: int) -> list[Image]:
    """Return messages of a texture that moves right by 2 pixels from image to image."""
    coarse = np.random.default_rng(0).integers(0, 256, (size.height // 8, size.width // 8, 3), dtype=np.uint8)
    texture = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    return [image_message(Header(), np.roll(texture, 2 * number, axis=1)) for number in range(count)]


class NodeLoad:
    """One node at one image size.

    Args:
        size: width and height of the camera's images, in pixels.
        rate: images a second; ``None`` publishes the next image as soon as the last flow has arrived.
        with_confidence: whether to subscribe to the confidence, too.
        backend: the node's backend.
        namespace: namespace of all topics, such as ``/left``.
    """

    def __init__(
        self, size: Size, rate: float | None, with_confidence: bool, backend: str = "auto", namespace: str = "/"
    ) -> None:
        keep_freed_memory()
        # The default transport loses large images. The node inherits this variable.
        os.environ.setdefault(BUILTIN_TRANSPORTS, SHARED_MEMORY)
        self.rate = rate
        self.node = rclpy.create_node("benchmark", namespace=namespace)
        self.images = moving_texture(size, 8)
        self.started = time.monotonic()
        command = [sys.executable, "-m", "mdflow_ros.node.flow_node", "--ros-args", "--log-level", "warn"]
        command += ["-p", "max_frame_gap:=10.0", "-p", f"backend:={backend}", "-r", f"__ns:={namespace}"]
        self.process = subprocess.Popen(command)
        quality = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.camera = self.node.create_publisher(Image, "image", quality)
        self.latencies: list[float] = []
        self.inferences: list[float] = []
        self.arrivals: list[float] = []
        self.image_stamp, self.answered = Time(), Time(sec=1)
        self.node.create_subscription(Image, "mdflow/flow", self._on_flow, 5)
        self.node.create_subscription(Float64, "mdflow/inference_ms", lambda m: self.inferences.append(m.data), 5)
        if with_confidence:
            self.node.create_subscription(Image, "mdflow/confidence", lambda _: None, 5)

    def _on_flow(self, message: Image) -> None:
        now = self.node.get_clock().now().nanoseconds
        self.latencies.append((now - stamp_of(message.header)) / 1e6)
        self.arrivals.append(time.monotonic())
        self.answered = message.header.stamp

    def run(self, pairs: int) -> dict[str, float]:
        """Publish until ``pairs`` flows have arrived, and return the metrics."""
        published, published_at = 0, 0.0
        executor = SingleThreadedExecutor()
        executor.add_node(self.node)
        while len(self.arrivals) < pairs:
            # A shorter timeout would take CPU time from the node.
            executor.spin_once(timeout_sec=0.01)
            waited = time.monotonic() - published_at
            # Without a rate, the next image follows the flow of the last one, or a timeout if that flow got lost.
            timeout = 2 if self.arrivals else 0.1
            due = waited > 1 / self.rate if self.rate else self.answered == self.image_stamp or waited > timeout
            if due and self.camera.get_subscription_count():
                message = self.images[published % len(self.images)]
                self.image_stamp = message.header.stamp = self.node.get_clock().now().to_msg()
                self.camera.publish(message)
                published, published_at = published + 1, time.monotonic()
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        self.process.terminate()
        self.process.wait()
        executor.shutdown()
        self.node.destroy_node()
        return self._metrics(peak / 1024)

    def _metrics(self, peak: float) -> dict[str, float]:
        latencies, inferences = (np.array(values[WARM_UP_PAIRS:]) for values in (self.latencies, self.inferences))
        arrivals = self.arrivals[WARM_UP_PAIRS:]
        return {
            "first_flow_s": self.arrivals[0] - self.started,
            "rate_hz": (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]),
            "estimator_ms_p50": float(np.median(inferences)),
            "latency_ms_p50": float(np.median(latencies)),
            "latency_ms_p95": float(np.percentile(latencies, 95)),
            "overhead_ms_p50": float(np.median(latencies) - np.median(inferences)),
            "peak_resident_mb": peak,
        }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=at_least(8), nargs=2, default=(320, 256), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--rate", type=positive, help="images a second")
    parser.add_argument("--pairs", type=at_least(MIN_PAIRS), default=100, help="flows to wait for; default %(default)s")
    parser.add_argument("--namespace", default="/", help="namespace of all topics; default %(default)s")
    options = parser.parse_args(arguments)
    rclpy.init()
    load = NodeLoad(Size(*options.size), options.rate, with_confidence=True, namespace=options.namespace)
    print(json.dumps(load.run(options.pairs)))
    rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())

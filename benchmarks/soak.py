# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the running node for hours: memory, rate, latency, and lost pairs.

    python benchmarks/soak.py --minutes 60 --rate 10 --out soak.json

This process is the camera and a consumer; the node is another process, connected over DDS. The growth of the memory is
measured after the first tenth of the time. The exit status is 0 if the memory grew by less than 1 MB an hour and no
published pair got lost, else 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from node_load import SHARED_MEMORY, moving_texture
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from mdflow_ros.core.argument_types import at_least, positive
from mdflow_ros.core.atomic_files import write_json
from mdflow_ros.core.resizing import Size
from mdflow_ros.node.messages import stamp_of
from mdflow_ros.node.transport import BUILTIN_TRANSPORTS

MAX_GROWTH = 1.0
"""Largest tolerated growth of the resident memory, MB an hour."""

WARM_UP = 0.1
"""Share of the time, at the start, that is left out when the growth is computed."""

MIN_MINUTES = 3
"""Computing the growth needs two minutes after the warm-up."""


@dataclass
class Minute:
    """Measurements of one minute."""

    resident_mb: float
    rate_hz: float
    latency_ms_p50: float
    latency_ms_p95: float


class Soak:
    """One node, one camera, one consumer.

    Args:
        size: width and height of the images, pixels.
        rate: images a second.
        backend: the node's backend.
    """

    def __init__(self, size: Size, rate: float, backend: str) -> None:
        os.environ.setdefault(BUILTIN_TRANSPORTS, SHARED_MEMORY)
        self._node = rclpy.create_node("soak")
        self._images = moving_texture(size, 8)
        self._published = self.received = 0
        self._latencies: list[float] = []
        self.counters: dict[str, str] = {}
        command = [sys.executable, "-m", "mdflow_ros.node.flow_node", "--ros-args", "--log-level", "warn"]
        self.process = subprocess.Popen([*command, "-p", f"backend:={backend}"])
        self._camera = self._node.create_publisher(Image, "image", 5)
        self._node.create_subscription(Image, "mdflow/flow", self._on_flow, 10)
        self._node.create_subscription(Image, "mdflow/confidence", lambda _: None, 10)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._node.create_timer(1 / rate, self._publish)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)

    def _publish(self) -> None:
        message = self._images[self._published % len(self._images)]
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._camera.publish(message)
        self._published += 1

    def _on_flow(self, message: Image) -> None:
        self._latencies.append((self._node.get_clock().now().nanoseconds - stamp_of(message.header)) / 1e6)
        self.received += 1

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.counters = {item.key: item.value for item in message.status[0].values}

    def run(self, seconds: float) -> Minute:
        """Run for ``seconds`` and return the measurements."""
        self._latencies = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.1)
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        late = np.percentile(self._latencies, [50, 95]) if self._latencies else [np.nan, np.nan]
        return Minute(resident / 1024, len(self._latencies) / seconds, float(late[0]), float(late[1]))

    def close(self) -> None:
        """Stop the node."""
        self.process.terminate()
        self.process.wait()
        self._executor.shutdown()
        self._node.destroy_node()


def growth(minutes: list[Minute]) -> float:
    """Return the growth of the resident memory after the warm-up, MB an hour."""
    counted = [minute.resident_mb for minute in minutes[int(WARM_UP * len(minutes)) + 1 :]]
    return float(np.polyfit(np.arange(len(counted)) / 60, counted, 1)[0]) if len(counted) > 1 else float("nan")


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=at_least(MIN_MINUTES), default=60, help="default %(default)s")
    parser.add_argument("--rate", type=positive, default=10.0, help="images a second; default %(default)s")
    parser.add_argument("--size", type=at_least(8), nargs=2, default=(320, 256), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--backend", default="auto", help="default %(default)s")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args(arguments)
    rclpy.init()
    soak = Soak(Size(*options.size), options.rate, options.backend)
    minutes: list[Minute] = []
    try:
        for number in range(options.minutes):
            minutes.append(soak.run(60.0))
            print(f"{number + 1:4d} min  {json.dumps(asdict(minutes[-1]))}", flush=True)
    except KeyboardInterrupt:
        print("interrupted; the results cover the time until now", file=sys.stderr)
    finally:
        soak.close()
        rclpy.try_shutdown()
    lost = int(soak.counters.get("pairs_published", 0)) - soak.received
    result = {"growth_mb_per_hour": growth(minutes), "pairs_received": soak.received, "pairs_lost": max(0, lost)}
    print(json.dumps(result))
    if options.out:
        rows = [asdict(minute) for minute in minutes]
        write_json(options.out, {**result, "counters": soak.counters, "minutes": rows})
    return 0 if result["growth_mb_per_hour"] < MAX_GROWTH and not result["pairs_lost"] else 1


if __name__ == "__main__":
    sys.exit(main())

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Run a node's callbacks; the flow node's executor runs slow services in parallel with images."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import rclpy
from rclpy.callback_groups import CallbackGroup
from rclpy.executors import (
    Executor,
    ExternalShutdownException,
    ShutdownException,
    SingleThreadedExecutor,
    TimeoutException,
)
from rclpy.node import Node

SLOW_THREADS = 4
STOP_CHECK_SECONDS = 0.2
"""Seconds between two checks whether to stop."""


def spin_until(is_done: Callable[[], bool], executor: Executor, node: Node) -> None:
    """Run callbacks until ``is_done`` or until ROS shuts down.

    Exceptions from callbacks, and from rclpy for unreadable messages, are logged: no received message may end the node.
    """
    while not is_done() and rclpy.ok():
        try:
            executor.spin_once(timeout_sec=STOP_CHECK_SECONDS)
        except ExternalShutdownException:
            break
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            node.get_logger().error(
                f"ignored an unexpected {type(error).__name__}: {error} ({place.filename}:{place.lineno})",
                throttle_duration_sec=1.0,
            )


class FlowExecutor(SingleThreadedExecutor):
    """Runs callbacks in the spinning thread, and those of slow groups in one thread each.

    With a `MultiThreadedExecutor`, images wait for their turn: at 320x256 on two cores with ONNX Runtime, the rate was
    13.5 Hz instead of 27.6, and the 95th percentile of the latency 226 ms instead of 42 (benchmarks/node_load.py).

    Args:
        slow: groups whose callbacks take long, such as those that load a model.
    """

    def __init__(self, slow: Collection[CallbackGroup]) -> None:
        super().__init__()
        self._slow = slow
        self._pool = ThreadPoolExecutor(SLOW_THREADS, thread_name_prefix="slow callback")
        self._running: list[Any] = []

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Run the next callback, or start it if it is a slow one.

        Raises:
            Exception: a callback raised it; the exception of a slow callback is raised by a later call.
        """
        try:
            handler, entity, _ = self.wait_for_ready_callbacks(timeout_sec)
        except (ShutdownException, TimeoutException):
            handler, entity = None, None
        if handler is not None and entity is not None and entity.callback_group in self._slow:
            self._running.append(handler)
            self._pool.submit(handler)
        elif handler is not None:
            handler()
            handler.result()
        finished = [handler for handler in self._running if handler.done()]
        self._running = [handler for handler in self._running if handler not in finished]
        for slow_handler in finished:
            slow_handler.result()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop; a slow callback that is still running is not waited for."""
        self._pool.shutdown(wait=False)
        return bool(super().shutdown(timeout_sec))

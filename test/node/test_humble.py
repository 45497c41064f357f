# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What ROS 2 Humble's rclpy lacks, taken away from the one that is installed."""

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

import rclpy
from node_harness import ENVIRONMENT
from rclpy.executors import SingleThreadedExecutor
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image

from mdflow_ros.recordings import topic_recorder
from mdflow_ros.recordings.topic_recorder import TopicRecorder

DOMAIN = 74

# Of rclpy 3.3.15 (Humble) against 9.1 (Kilted).
MISSING_MODULES = (
    "clock_type",
    "event_handler",
    "experimental",
    "logging_service",
    "parameter_client",
    "parameter_event_handler",
    "service_introspection",
    "subscription_content_filter_options",
    "type_description_service",
    "type_hash",
)


def test_no_module_needs_what_humble_does_not_have() -> None:
    code = f"""
        import importlib, pkgutil, sys
        import rclpy.executors, rclpy.lifecycle, rclpy.node
        sys.modules.update({{"rclpy." + name: None for name in {MISSING_MODULES}}})
        import mdflow_ros
        for module in pkgutil.walk_packages(mdflow_ros.__path__, "mdflow_ros."):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                if error.name.startswith("rclpy"):
                    sys.exit(f"{{module.name}}: {{error}}")
        """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_recorder_works_where_a_message_comes_without_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    class HumbleSubscription:
        """It has no CallbackType, since a callback gets the message alone."""

    assert hasattr(Subscription, "CallbackType")
    monkeypatch.setattr(topic_recorder, "Subscription", HumbleSubscription)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    sizes: list[int] = []

    class Sink:
        def add_topic(self, topic, type_name, offered_qos=(), definition="") -> None:
            assert (topic, type_name) == ("/image", "sensor_msgs/msg/Image")

        def write(self, topic, time, data) -> None:
            assert time > 0
            sizes.append(len(data))

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    executor = SingleThreadedExecutor(context=context)
    node = rclpy.create_node("recorder", context=context)
    executor.add_node(node)
    publisher = node.create_publisher(Image, "/image", 5)
    recorder = TopicRecorder(node, Sink(), pytest.fail)
    recorder.record("/image")
    for _ in range(100):
        publisher.publish(Image(width=1))
        executor.spin_once(timeout_sec=0.1)
        if sizes:
            break
    node.destroy_node()
    executor.shutdown()
    context.try_shutdown()
    assert sizes
    assert recorder.counts["/image"].received == len(sizes)
    assert recorder.counts["/image"].dropped is None

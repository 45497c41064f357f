# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The live node: a camera topic in, optical flow and its confidence out."""

from __future__ import annotations

import logging
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from numpy.typing import NDArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from mdflow_ros.backends.backend import BackendError, BackendUnavailable
from mdflow_ros.core.frame_pairing import Frame, FramePairer
from mdflow_ros.core.image_decoding import UnsupportedEncoding
from mdflow_ros.estimator import FlowEstimate, FlowEstimator
from mdflow_ros.model.card import ModelError
from mdflow_ros.node.diagnostics import FlowCounters, diagnostic_array
from mdflow_ros.node.log_bridge import LogBridge
from mdflow_ros.node.messages import frame_from, stamp_of
from mdflow_ros.node.parameters import Settings, declare_parameters, reason_to_refuse
from mdflow_ros.node.publishers import FlowOutputs
from mdflow_ros.node.worker import NewestOnlyWorker

POLL_PERIOD = 0.1
"""How often the node looks whether anybody subscribes, in seconds."""

DIAGNOSTICS_PERIOD = 1.0
SILENCE = 5.0
"""Without an image for so long, in seconds, diagnostics warn."""

LOG_PERIOD = 5.0
"""A recurring complaint is logged once in so many seconds."""

EXPECTED_ERRORS = (ModelError, BackendUnavailable, BackendError, ValueError, OSError)
"""Errors whose text says all that a user needs."""


def describe(error: Exception) -> str:
    """Return an error's text, with its type if it was not foreseen."""
    return str(error) if isinstance(error, EXPECTED_ERRORS) else f"unexpected {type(error).__name__}: {error}"


class FlowNode(LifecycleNode):
    """Estimates the flow between consecutive frames of a camera; topics and parameters are in the README.

    Two threads share the work. The executor's receives messages and answers services; `NewestOnlyWorker`'s decodes,
    estimates and publishes. A reloaded model is loaded in a third. So nothing that takes long blocks a service while
    frames flow; only configuring does, for as long as loading the model takes.
    """

    def __init__(self) -> None:
        super().__init__("mdflow")
        declare_parameters(self)
        self.add_on_set_parameters_callback(self._check_parameters)
        logging.getLogger("mdflow_ros").addHandler(LogBridge(self.get_logger()))
        logging.getLogger("mdflow_ros").setLevel(logging.DEBUG)

        self.exit_code = 0
        self._settings: Settings | None = None
        self._estimator: FlowEstimator | None = None
        self._active = False
        self._failure: str | None = None
        self._camera_info: CameraInfo | None = None
        self._inputs: list[Subscription[Any]] = []
        self._counters = FlowCounters()
        self._pairer = FramePairer(self.get_parameter("max_frame_gap").value)
        self._worker: NewestOnlyWorker[Image | CompressedImage] = NewestOnlyWorker(self._process)
        self._outputs = FlowOutputs(self)
        self._diagnostics_output = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # In a group of its own, as it holds its group while it awaits the model.
        reload_group = MutuallyExclusiveCallbackGroup()
        self.create_service(Trigger, "~/reload_model", self._reload_model, callback_group=reload_group)
        self.create_timer(POLL_PERIOD, self._poll)
        self.create_timer(DIAGNOSTICS_PERIOD, self._publish_diagnostics)
        if self.get_parameter("autostart").value or self.get_parameter("build_only").value:
            # Not before the executor spins, as a signal ends the process only then.
            self._start_timer = self.create_timer(0.0, self._start)

    # Lifecycle

    def _start(self) -> None:
        self._start_timer.cancel()
        configured = self.trigger_configure() == TransitionCallbackReturn.SUCCESS
        if self.get_parameter("build_only").value:
            self.exit_code = 0 if configured else 1
            rclpy.try_shutdown(context=self.context)
        elif configured:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model."""
        self._failure = None
        try:
            self._settings = Settings.of(self)
            self._estimator = self._load(self._settings)
        except Exception as error:  # rclpy would swallow what is not caught here, without a word
            self._failure = f"cannot load the model: {describe(error)}"
            self.get_logger().error(f"{self._failure}; then configure again")
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to listen, as soon as somebody subscribes."""
        self._pairer.start_over()
        self._active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; a pair in work is not published any more."""
        self._active = False
        self._unsubscribe()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the model."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of everything."""
        self._active = False
        self._unsubscribe()
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Fall back to unconfigured, from where the node can be configured again."""
        self._active = False
        self._unsubscribe()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def _load(self, settings: Settings) -> FlowEstimator:
        estimator = FlowEstimator(
            settings.model, settings.backend, settings.inference_size, settings.output_scale, settings.options
        )
        if settings.inference_size is not None:
            estimator.warm_up(settings.inference_size)
        self.get_logger().info(
            f"model {estimator.card.name} ({estimator.card.sha256[:12]}) runs on {estimator.backend}"
        )
        return estimator

    def _release(self) -> None:
        # The worker may still hold it for the pair in work; the last reference gives its memory back.
        self._estimator = None

    async def _reload_model(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Load the model that the parameters name and swap it in between two frames; keep the old one on failure."""
        old = self._estimator
        if old is None or self._settings is None:
            response.message = "the node is not configured; configure it and it loads the model"
            return response
        try:
            wanted = Settings.of(self)
            # Building an engine takes minutes, in which the robot would have no flow.
            options = replace(wanted.options, may_build_engine=False)
            # Nothing but the model changes: the rest waits for the node to be configured.
            settings = replace(self._settings, model=wanted.model, backend=wanted.backend, options=options)
            estimator = await self._load_in_background(settings)
        except Exception as error:  # whatever is wrong with the new model, the old one goes on
            response.message = f"kept the old model: {describe(error)}"
            self.get_logger().error(response.message)
            return response
        if self._estimator is not old:
            response.message = "the node was cleaned up or configured anew while the model was being loaded"
            return response
        self._settings, self._estimator = settings, estimator
        response.success = True
        response.message = f"model {estimator.card.name} ({estimator.card.sha256[:12]}) on {estimator.backend}"
        return response

    async def _load_in_background(self, settings: Settings) -> FlowEstimator:
        """Load the model in a thread of its own; the executor goes on meanwhile.

        A result does not wake rclpy's executor: it looks for one after every callback, that is at the next poll.
        """
        future: Future[FlowEstimator] = Future(executor=self.executor)

        def load() -> None:
            try:
                estimator = self._load(settings)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(estimator)

        # No daemon: Python would end such a thread in the middle of native code, which aborts the process.
        threading.Thread(target=load, name="reload").start()
        estimator = await future
        assert estimator is not None
        return estimator

    # Parameters

    def _check_parameters(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        reason = reason_to_refuse(parameters)
        if reason is None:
            for parameter in parameters:
                if parameter.name == "max_frame_gap":
                    self._pairer.max_frame_gap = parameter.value
        return SetParametersResult(successful=reason is None, reason=reason or "")

    # Input

    def _poll(self) -> None:
        """Listen to the camera while somebody listens to the node, and stop when the backend has failed."""
        if self._failure is not None and self._active:
            self.get_logger().error(f"{self._failure}; deactivating, configure again to go on")
            self.trigger_deactivate()
            self.trigger_cleanup()
        wanted = self._active and self._outputs.wanted()
        if wanted and not self._inputs:
            self._subscribe()
        elif not wanted and self._inputs:
            self._unsubscribe()

    def _subscribe(self) -> None:
        profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        overridable = QoSOverridingOptions.with_default_policies()
        self._pairer.start_over()
        self._counters.last_frame_time = time.monotonic()
        message_type = CompressedImage if self._settings and self._settings.compressed else Image
        self._inputs = [
            self.create_subscription(
                message_type, self._image_topic(), self._on_image, profile, qos_overriding_options=overridable
            ),
            self.create_subscription(CameraInfo, "camera_info", self._on_camera_info, profile),
        ]

    def _image_topic(self) -> str:
        # A remapping of `image` holds for `image/compressed` only if the name is resolved first.
        topic = self.resolve_topic_name("image")
        return f"{topic}/compressed" if self._settings and self._settings.compressed else topic

    def _unsubscribe(self) -> None:
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        self._worker.clear()

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _on_image(self, message: Image | CompressedImage) -> None:
        self._counters.frame_received()
        self._worker.put(message)

    # Work, in the worker's thread

    def _process(self, message: Image | CompressedImage) -> None:
        """Take one message from the camera to the published flow. Whatever happens, the thread lives on."""
        try:
            self._estimate(message)
        except UnsupportedEncoding as error:
            self._counters.frames_unsupported += 1
            self._refuse(str(error))
        except ValueError as error:  # CorruptImage, or a size that the estimator refuses
            self._counters.frames_corrupt += 1
            self._refuse(f"dropped an image: {error}")
        except BackendError as error:
            self._failure = str(error)
        except Exception as error:
            if self.context.ok():  # publishing fails while the process shuts down, which is no failure
                self._failure = describe(error)

    def _refuse(self, reason: str) -> None:
        self._counters.last_refusal = reason
        self.get_logger().error(reason, throttle_duration_sec=LOG_PERIOD)

    def _estimate(self, message: Image | CompressedImage) -> None:
        settings, estimator = self._settings, self._estimator
        if not self._active or settings is None or estimator is None:
            return
        frame = frame_from(message)
        previous = self._pairer.push(frame)
        if previous is None:
            if frame.stamp == 0:
                self._refuse("an image without a stamp cannot be paired; the camera driver must fill header.stamp")
            return
        mask_invalid = self.get_parameter("mask_invalid").value
        with_confidence = mask_invalid or self._outputs.confidence_wanted()
        first, second = (frame, previous) if settings.backward else (previous, frame)
        estimate = estimator.estimate(first.image, second.image, with_confidence)
        self._counters.pairs_computed += 1
        flow = self._masked(estimate) if mask_invalid else estimate.flow
        if self._active:
            self._publish(message.header, previous, flow, estimate)

    def _masked(self, estimate: FlowEstimate) -> NDArray[np.float32]:
        threshold = self.get_parameter("confidence_threshold").value
        assert estimate.confidence is not None
        return np.where((estimate.confidence < threshold)[..., None], np.float32(np.nan), estimate.flow)

    def _publish(self, header: Header, previous: Frame, flow: NDArray[np.float32], estimate: FlowEstimate) -> None:
        self._outputs.publish_pair(header, previous.stamp, flow, estimate.confidence, self._camera_info)
        latency_ms = (self.get_clock().now().nanoseconds - stamp_of(header)) / 1e6
        inference_ms = estimate.inference_seconds * 1e3
        self._outputs.publish_times(latency_ms, inference_ms)
        mean_confidence = None if estimate.confidence is None else float(estimate.confidence.mean())
        self._counters.pair_published(inference_ms, latency_ms, mean_confidence)

    # Diagnostics

    def _publish_diagnostics(self) -> None:
        level, summary = self._condition()
        estimator = self._estimator
        values = {
            **self._counters.values(),
            "frames_dropped": str(self._worker.dropped),
            "resets": str(sum(self._pairer.resets.values())),
            **{f"resets.{reason.value}": str(count) for reason, count in self._pairer.resets.items()},
            "model": estimator.card.name if estimator else "",
            "model_sha256": estimator.card.sha256 if estimator else "",
            "backend": estimator.backend if estimator else "",
            "idle_because": "" if level == DiagnosticStatus.OK and summary == "flowing" else summary,
        }
        stamp = self.get_clock().now().to_msg()
        name = self.get_fully_qualified_name()
        self._diagnostics_output.publish(
            diagnostic_array(stamp, f"{name}: flow", self._image_topic(), level, summary, values)
        )

    def _condition(self) -> tuple[bytes, str]:
        """Return how the node fares, and why it idles if it does."""
        if self._failure is not None:
            return DiagnosticStatus.ERROR, self._failure
        if self._estimator is None:
            return DiagnosticStatus.WARN, "not configured"
        if not self._active:
            return DiagnosticStatus.WARN, "not active"
        if not self._inputs:
            return DiagnosticStatus.OK, "nobody subscribes"
        if self._counters.last_refusal is not None:
            return DiagnosticStatus.ERROR, self._counters.last_refusal
        last_frame = self._counters.last_frame_time
        if last_frame is None or time.monotonic() - last_frame > SILENCE:
            return DiagnosticStatus.WARN, self._why_silent()
        if self._counters.inference_ms.summary(time.monotonic()) is None:
            return DiagnosticStatus.OK, "waiting for a pair"
        return DiagnosticStatus.OK, "flowing"

    def _why_silent(self) -> str:
        topic = self._image_topic()
        publishers = self.get_publishers_info_by_topic(topic)
        if not publishers:
            return f"no image on {topic} for {SILENCE:.0f} s: nobody publishes it; remap `image` to your camera's topic"
        quality = ", ".join(f"{p.node_name} ({p.topic_type}, {p.qos_profile.reliability.name})" for p in publishers)
        return (
            f"no image on {topic} for {SILENCE:.0f} s although it is published by {quality}; large best-effort images "
            "get lost on the default transport: on both sides set FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA and unset "
            "ROS_AUTOMATIC_DISCOVERY_RANGE"
        )

    def close(self) -> None:
        """Stop working, for the end of the process."""
        self._active = False
        self._worker.stop(timeout=5.0)


def main(arguments: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    rclpy.init(args=arguments)
    try:
        node = FlowNode()
    except (InvalidParameterValueException, InvalidParameterTypeException) as error:
        print(f"error: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    # rclpy's MultiThreadedExecutor submits a callback that waits again and again, which delays it (rclpy#1452).
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        # A signal in the wrong moment makes rclpy stumble over its own shutdown.
        if rclpy.ok():
            raise
    finally:
        node.close()
        # Without waiting: a reload that is under way would never end, as nothing goes on with it any more.
        executor.shutdown(timeout_sec=0)
        node.destroy_node()
        rclpy.try_shutdown()
    return node.exit_code


if __name__ == "__main__":
    sys.exit(main())

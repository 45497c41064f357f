# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The flow node as ROS sees it: lifecycle, parameters, services, timers and the topics that it connects."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from mdflow_ros.core.rate_limit import RateLimit
from mdflow_ros.estimator import FlowEstimator
from mdflow_ros.node.camera_input import CameraInput
from mdflow_ros.node.diagnostics import FlowCounters
from mdflow_ros.node.log_bridge import LogBridge
from mdflow_ros.node.messages import stamp_of
from mdflow_ros.node.parameters import LiveSettings, NodeSettings, declare_parameters, validate_parameters
from mdflow_ros.node.pipeline import FlowPipeline, FlowResult, describe
from mdflow_ros.node.publishers import FlowPublishers
from mdflow_ros.node.status import Status, StatusReporter
from mdflow_ros.node.worker import NewestOnlyWorker

POLL_PERIOD = 0.1
"""How often the node checks for subscribers and for changes of the camera, in seconds."""

DIAGNOSTICS_PERIOD = 1.0
LOG_PERIOD = 5.0
"""Shortest time between two log lines about dropped images, in seconds."""


class FlowNode(LifecycleNodeMixin, Node):
    """Estimates the flow between consecutive frames of a camera: docs/node.md, docs/parameters.md.

    The callback groups need a `FlowExecutor` or a `MultiThreadedExecutor`. The default group receives messages and
    answers most services. Lifecycle transitions and reloading run in parallel to it, because loading a model takes
    long. A worker thread decodes, estimates and publishes. Timers use a steady clock, so that they run even if nobody
    publishes /clock.

    Attributes:
        exit_code: exit status of the process; ``None`` while the node is to run.
        slow_groups: callback groups whose callbacks may load a model.

    Raises:
        rclpy.exceptions.ParameterException: a parameter has the wrong type or is out of range.
        ValueError: a parameter has a value that is not allowed.
        RuntimeError: a QoS override of a publisher is not allowed.
    """

    def __init__(self) -> None:
        Node.__init__(self, "mdflow")
        # Created first, because `destroy_node` needs them even if a parameter is refused below.
        self._publishing = threading.Lock()
        self._worker: NewestOnlyWorker[Image | CompressedImage] = NewestOnlyWorker(self._process, "flow")
        self._log_bridge = LogBridge(self.get_logger())
        logging.getLogger("mdflow_ros").addHandler(self._log_bridge)
        logging.getLogger("mdflow_ros").setLevel(logging.DEBUG)
        transitions, loading = ReentrantCallbackGroup(), MutuallyExclusiveCallbackGroup()
        self.slow_groups = (transitions, loading)
        LifecycleNodeMixin.__init__(self, callback_group=transitions)
        declare_parameters(self)
        self.add_on_set_parameters_callback(self._check_parameters)

        self.exit_code: int | None = None
        self._loads, self._loads_lock = 0, threading.Lock()
        self._active = False
        self._enabled = True
        self._is_shut_down = False
        self._load_error: str | None = None
        self._counters = FlowCounters()
        self._pipeline = FlowPipeline(self._counters, self._report_drop, self._load)
        self._rate_limit = RateLimit()
        self._input = CameraInput(self, self._on_image)
        self._outputs = FlowPublishers(self)
        self._status = StatusReporter(self, self._counters, self._pipeline, self._input, self._outputs)
        self.create_service(Trigger, "~/reload_model", self._reload_model, callback_group=loading)
        self.create_service(SetBool, "~/enable", self._enable)
        self.create_service(Trigger, "~/reset", self._reset)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(POLL_PERIOD, self._poll, clock=steady)
        self.create_timer(DIAGNOSTICS_PERIOD, self._publish_diagnostics, clock=steady)
        if self.get_parameter("autostart").value or self.get_parameter("build_only").value:
            self._start_timer = self.create_timer(0.0, self._start, callback_group=loading, clock=steady)

    # Lifecycle

    def _start(self) -> None:
        self._start_timer.cancel()
        configured = self.trigger_configure() == TransitionCallbackReturn.SUCCESS
        if self.get_parameter("build_only").value:
            self.exit_code = 0 if configured else 1
        elif configured:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model."""
        self._load_error = None
        try:
            settings = NodeSettings.from_node(self)
            self._pipeline.configure(settings, self._load(settings))
        except Exception as error:  # rclpy would discard it silently
            self._load_error = f"cannot load the model: {describe(error)}"
            self.get_logger().error(f"{self._load_error}; then configure again")
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the camera as soon as somebody subscribes to the node."""
        self._pipeline.reset()
        self._active = True
        self.get_logger().info("active; idle until somebody subscribes, for example to ~/flow")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; discard the pair being processed."""
        self._stop_publishing()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model."""
        self._pipeline.release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything."""
        self._stop_publishing()
        self._is_shut_down = True
        self._pipeline.release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model and become unconfigured; the node can then be configured again."""
        self._stop_publishing()
        self._pipeline.release()
        return TransitionCallbackReturn.SUCCESS

    def _stop_publishing(self) -> None:
        """Wait until the pair that is being published is complete, and publish no other."""
        with self._publishing:
            self._active = False

    @property
    def is_loading(self) -> bool:
        """Whether a model is being loaded."""
        return self._loads > 0

    def _load(self, settings: NodeSettings) -> FlowEstimator:
        with self._loads_lock:  # two loads may overlap
            self._loads += 1
        cv2.setNumThreads(settings.options.threads or -1)  # -1 is OpenCV's default: all cores
        try:
            estimator = FlowEstimator(
                settings.model,
                settings.backend,
                settings.inference_size,
                settings.output_scale,
                settings.options,
                settings.quality,
            )
            if settings.inference_size is not None:
                estimator.warm_up(settings.inference_size)
        finally:
            with self._loads_lock:
                self._loads -= 1
        self.get_logger().info(_model_line(estimator))
        return estimator

    # Services

    def _reload_model(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Load the model that the parameters name and swap it in between two frames; keep the old one on failure."""
        old = self._pipeline.settings
        if old is None:
            response.message = "the node is not configured; configure it, which loads the model"
            return response
        try:
            new = NodeSettings.from_node(self)
            # Only the model and the backend change; other parameters take effect when the node is configured. Building
            # an engine takes minutes, so only a cached one is used.
            options = replace(old.options, may_build_engine=False)
            settings = replace(old, model=new.model, backend=new.backend, options=options)
            estimator = self._load(settings)
        except Exception as error:  # the old model still works, whatever is wrong with the new one
            response.message = f"kept the old model: {describe(error)}"
            self.get_logger().error(response.message)
            return response
        if not self._pipeline.swap_model(old, settings, estimator):
            response.message = "the node was cleaned up or configured again while the model was being loaded"
            return response
        response.success, response.message = True, _model_line(estimator)
        return response

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Pause or resume without unloading the model."""
        self._enabled = request.data
        self._start_new_pair()
        response.success, response.message = True, "enabled" if request.data else "paused"
        return response

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Forget the last image, so that the next one starts a new pair."""
        self._start_new_pair()
        response.success, response.message = True, "the next image starts a new pair"
        return response

    def _start_new_pair(self) -> None:
        """Drop all images received so far; their flow will not be published."""
        self._worker.clear()
        with self._publishing:
            self._pipeline.reset()

    def _check_parameters(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        error = validate_parameters(parameters)
        return SetParametersResult(successful=error is None, reason=error or "")

    # Images

    def _poll(self) -> None:
        """Subscribe to the camera while somebody subscribes to the node."""
        settings = self._pipeline.settings
        if self._active and self._enabled and settings is not None and self._outputs.has_subscribers():
            if not self._input.image.is_subscribed:
                self._pipeline.reset()
                self._counters.last_frame_time = time.monotonic()
            self._input.choose(settings.compressed)
            self._input.refresh()
        elif self._input.image.is_subscribed:
            self._input.close()
            self._worker.clear()

    def _on_image(self, message: Image | CompressedImage) -> None:
        self._counters.frame_received()
        if self._rate_limit.accepts(stamp_of(message.header), float(self.get_parameter("max_rate").value)):
            self._worker.put(message)
        else:
            self._counters.frames_skipped += 1

    def _process(self, message: Image | CompressedImage) -> None:
        """Process one camera message and publish its flow. Runs in the worker's thread and must not raise."""
        if not (self._active and self._enabled):
            return
        restarts = self._pipeline.restarts
        try:
            with_confidence = self._outputs.confidence_has_subscribers()
            live, camera_info = LiveSettings.from_node(self), self._input.camera_info
            result = self._pipeline.process(message, live, with_confidence, camera_info)
            with self._publishing:
                is_wanted = self._active and self._enabled and self._pipeline.restarts == restarts
                if result is not None and is_wanted:
                    self._publish(result)
        except Exception as error:
            if self.context.ok():  # publishing fails while the process shuts down
                self._counters.last_refusal = describe(error)
                self._report_drop(self._counters.last_refusal)

    def _publish(self, result: FlowResult) -> None:
        self._outputs.publish_pair(result)
        latency_ms = self._status.latency_ms(stamp_of(result.header))
        inference_ms = result.inference_seconds * 1e3
        self._outputs.publish_times(latency_ms, inference_ms)
        mean_confidence = None if result.confidence is None else float(result.confidence.mean())
        self._counters.pair_published(inference_ms, latency_ms, mean_confidence)

    def _report_drop(self, reason: str) -> None:
        self.get_logger().error(reason, throttle_duration_sec=LOG_PERIOD)

    # Diagnostics

    def _publish_diagnostics(self) -> None:
        self._status.publish(self._why_not_ready(), self._worker.dropped)

    def _why_not_ready(self) -> Status | None:
        """Return why the node takes no images, or ``None`` if it does."""
        if self._load_error is not None:
            return DiagnosticStatus.ERROR, self._load_error
        if self._pipeline.settings is None:
            unusable = "shut down; start the node again" if self._is_shut_down else "not configured"
            return DiagnosticStatus.WARN, "loading the model" if self.is_loading else unusable
        if not self._active:
            return DiagnosticStatus.WARN, "not active"
        if not self._enabled:
            return DiagnosticStatus.WARN, "paused; call the service ~/enable with data: true"
        return None

    def stop(self, timeout: float) -> bool:
        """Stop all work before the process ends; return whether it has stopped within ``timeout`` seconds."""
        self._active = False
        return self._worker.stop(timeout) and not self.is_loading

    def destroy_node(self) -> None:
        """Destroy the node, end the worker's thread, and stop forwarding Python's log."""
        self._worker.stop(0)
        logging.getLogger("mdflow_ros").removeHandler(self._log_bridge)
        super().destroy_node()


def _model_line(estimator: FlowEstimator) -> str:
    model = f"model {estimator.card.name} ({estimator.card.sha256[:12]})"
    return f"{model} runs on {estimator.backend}, quality {estimator.quality}"

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Load another model in a running flow node through ROS services."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

DEFAULT_NODE = "/mdflow"
DISCOVERY_SECONDS = 10.0
RELOAD_SECONDS = 120.0
"""Longer than a model takes to load and warm up; engines are not built while the node runs."""


class NodeError(RuntimeError):
    """No node answers, or it refused the model; the text names the fix."""


def full_node_name(name: str) -> str:
    """Return a node's name with a leading slash.

    Raises:
        NodeError: ROS 2 allows no such name.
    """
    full = "/" + name.strip("/")
    if not re.fullmatch(r"(/[A-Za-z_][A-Za-z0-9_]*)+", full):
        raise NodeError(f"no node can be called '{name}'; a full name is like {DEFAULT_NODE} or /left{DEFAULT_NODE}")
    return full


class RunningNode:
    """A flow node in another process; made by `connect`.

    Args:
        client: this process's own ROS node.
        executor: that spins it.
        name: full name of the flow node.
    """

    def __init__(self, client: Any, executor: Any, name: str) -> None:
        self._client, self._executor, self.name = client, executor, name

    def model(self) -> str:
        """Return the node's ``model`` parameter; empty is the bundled model."""
        from rcl_interfaces.srv import GetParameters

        answer = self._call(GetParameters, "get_parameters", GetParameters.Request(names=["model"]))
        return str(answer.values[0].string_value)

    def load(self, model: str) -> str:
        """Set the ``model`` parameter and make the node swap the model in between two frames.

        Returns:
            The node's answer.

        Raises:
            NodeError: the node refused or did not answer; it keeps or restores its old model and the parameter.
        """
        before = self.model()
        self._set_model(model)
        try:
            accepted, answer = self._reload(RELOAD_SECONDS)
        except BaseException:  # also Ctrl-C: the node may be loading the model, which the caller then deletes
            self._set_model(before)
            with suppress(NodeError):
                self._reload(DISCOVERY_SECONDS)
            raise
        if not accepted:
            self._set_model(before)
            raise NodeError(f"{self.name} refused the model: {answer}")
        return answer

    def _set_model(self, model: str) -> None:
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        message = Parameter("model", value=model).to_parameter_msg()
        result = self._call(SetParameters, "set_parameters", SetParameters.Request(parameters=[message])).results[0]
        if not result.successful:
            raise NodeError(f"{self.name} refused the parameter model: {result.reason}")

    def _reload(self, timeout: float) -> tuple[bool, str]:
        """Return whether the node loaded the model that its parameter names, and its answer."""
        from std_srvs.srv import Trigger

        answer = self._call(Trigger, "reload_model", Trigger.Request(), timeout)
        return answer.success, str(answer.message)

    def _call(self, service_type: type[Any], name: str, request: Any, timeout: float = DISCOVERY_SECONDS) -> Any:
        service = self._client.create_client(service_type, f"{self.name}/{name}")
        try:
            self._spin_until(service.service_is_ready, DISCOVERY_SECONDS, f"no node answers at {self.name}/{name}")
            future = service.call_async(request)
            self._spin_until(future.done, timeout, f"{self.name}/{name} was called, but never answered")
            return future.result()
        finally:
            self._client.destroy_client(service)

    def _spin_until(self, condition: Any, timeout: float, complaint: str) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise NodeError(f"{complaint} (waited {timeout:.0f} s){self._advice()}")
            self._executor.spin_once(timeout_sec=0.05)

    def _advice(self) -> str:
        others = sorted(
            name.removesuffix("/reload_model")
            for name, kinds in self._client.get_service_names_and_types()
            if name.endswith("/reload_model") and "std_srvs/srv/Trigger" in kinds
        )
        domain = self._client.context.get_domain_id()
        if others and self.name not in others:
            return f"; there is {', '.join(others)}: choose with --node"
        return f"; start one with `ros2 run mdflow_ros flow_node`, in ROS_DOMAIN_ID {domain} as here"


@contextmanager
def connect(name: str = DEFAULT_NODE) -> Iterator[RunningNode]:
    """Yield a connection to the node with this full name, in the ROS domain of the environment.

    Raises:
        NodeError: ROS is not installed, it cannot start, or a node cannot have this name.
    """
    name = full_node_name(name)
    try:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        from mdflow_ros.node.start import StartError, start
    except ImportError as error:
        raise NodeError(
            f"rclpy cannot be imported ({error}): source /opt/ros/DISTRO/setup.bash, or install mdflow_ros[ros]"
        ) from error
    context = rclpy.Context()
    own_name = f"deploy_model_{os.getpid()}"
    try:
        client = start(
            lambda: rclpy.create_node(own_name, context=context, start_parameter_services=False), [], context
        )
    except StartError as error:
        raise NodeError(str(error)) from error
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(client)
    try:
        yield RunningNode(client, executor, name)
    finally:
        executor.shutdown()
        client.destroy_node()
        rclpy.shutdown(context=context)

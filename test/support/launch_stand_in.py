# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Run a launch file without launch and launch_ros, which pip does not have: what its processes are, not how they end.

`processes_of` evaluates the description with stand-ins for the few classes that our launch files use and returns, for
each node, the command line and the environment that launch would give it.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import yaml


class _Record:
    """An action that stores its arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs


class DeclareLaunchArgument(_Record):
    pass


class OpaqueFunction(_Record):
    pass


class SetEnvironmentVariable(_Record):
    pass


class IfCondition(_Record):
    pass


class Node(_Record):
    pass


class LaunchDescription(_Record):
    pass


class LaunchConfiguration(_Record):
    def perform(self, context: dict[str, str]) -> str:
        return context[self.args[0]]


class PathJoinSubstitution(_Record):
    def perform(self, context: dict[str, str]) -> str:
        return str(Path(*(_text(part, context) for part in self.args[0])))


class FindPackageShare(_Record):
    def perform(self, context: dict[str, str]) -> str:
        return context["package share"]


def _text(value: Any, context: dict[str, str]) -> str:
    return value if isinstance(value, str) else value.perform(context)


_CLASSES = {
    "launch": (LaunchDescription,),
    "launch.actions": (DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable),
    "launch.conditions": (IfCondition,),
    "launch.substitutions": (LaunchConfiguration, PathJoinSubstitution),
    "launch_ros": (),
    "launch_ros.actions": (Node,),
    "launch_ros.substitutions": (FindPackageShare,),
}


@dataclass
class LaunchedProcess:
    """One node: its executable, its ROS arguments, and the variables that the launch file sets."""

    executable: str
    arguments: list[str]
    environment: dict[str, str]


def processes_of(launch_file: Path, package_share: Path, **arguments: str) -> list[LaunchedProcess]:
    """Return the processes of a launch file that is started with these arguments."""
    modules = {name: ModuleType(name) for name in _CLASSES}
    for name, classes in _CLASSES.items():
        for stand_in in classes:
            setattr(modules[name], stand_in.__name__, stand_in)
    modules["launch"].LaunchContext = dict  # type: ignore[attr-defined]
    with mock.patch.dict(sys.modules, modules):
        spec = importlib.util.spec_from_file_location("launched", launch_file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        actions = module.generate_launch_description().args[0]
    context = {"package share": str(package_share)}
    for action in actions:
        if isinstance(action, DeclareLaunchArgument):
            name = action.args[0]
            context[name] = arguments.pop(name, None) or _text(action.kwargs["default_value"], context)
    assert not arguments, f"the launch file does not declare {', '.join(arguments)}"
    environment, processes = {}, []
    for action in actions:
        if isinstance(action, SetEnvironmentVariable):
            if action.kwargs["condition"].args[0].perform(context).lower() in ("true", "1"):
                environment[action.args[0]] = action.args[1]
        elif isinstance(action, OpaqueFunction):
            try:
                nodes = action.kwargs["function"](context)
            except Exception as error:  # launch ends, and leaves the processes that it has started
                assert not processes, f"{processes} run, and then: {error}"
                raise
            for node in nodes:
                processes.append(LaunchedProcess(node.kwargs["executable"], _ros_arguments(node), dict(environment)))
    return processes


def _ros_arguments(node: Node) -> list[str]:
    """Return what launch_ros puts on the command line of a node."""
    options = node.kwargs
    result = [*options["arguments"], "--ros-args", "-r", f"__node:={options['name']}"]
    if options["namespace"]:
        result += ["-r", f"__ns:=/{options['namespace'].strip('/')}"]
    for parameters in options["parameters"]:
        if isinstance(parameters, dict):
            file = Path(tempfile.mkstemp(suffix=".yaml")[1])
            file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
            parameters = str(file)
        result += ["--params-file", parameters]
    for old, new in options["remappings"]:
        result += ["-r", f"{old}:={new}"]
    return result

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Start a command that uses ROS: parse its command line, initialize rclpy, create its node."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TypeVar

import rclpy
from rclpy.context import Context
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from mdflow_ros.node.parameters import DECLARATIONS, Declaration

USAGE_ERROR = 2
"""Exit status of a command that could not start."""

NodeType = TypeVar("NodeType", bound=Node)


class StartError(RuntimeError):
    """ROS cannot start here, or does not accept the command line; the text says why."""


def node_parser(description: str | None, parameters: Mapping[str, Declaration]) -> argparse.ArgumentParser:
    """Return a parser that answers ``--help`` and refuses all arguments that are not for ROS.

    Args:
        description: of the node.
        parameters: of the node, by name.
    """
    lines = ["parameters (--ros-args -p NAME:=VALUE):"]
    for key, declaration in parameters.items():
        values = declaration.values and f" {'One of ' if declaration.choices else ''}{declaration.values}."
        lines.append(f"  {key} (default {declaration.default!r}): {declaration.description}{values}")
    return argparse.ArgumentParser(
        description=description, epilog="\n".join(lines), formatter_class=argparse.RawDescriptionHelpFormatter
    )


def own_arguments(command_line: list[str]) -> list[str]:
    """Return the arguments that are not for ROS, of a command line that begins with the program's name.

    Raises:
        StartError: the ROS arguments are malformed.
    """
    try:
        return list(remove_ros_args(command_line)[1:])
    except RuntimeError as error:
        raise StartError(_describe(error)) from error


def start(create: Callable[[], NodeType], command_line: list[str] | None, context: Context | None = None) -> NodeType:
    """Initialize rclpy and create a node. Signals are left to the caller (`StopSignal`).

    rclpy's own handlers shut the context down while the executor still uses it, which sometimes crashes the process.

    Args:
        create: creates the node.
        command_line: with the ROS arguments; ``None`` for that of the process.
        context: to initialize; ``None`` for the default one.

    Raises:
        StartError: the log folder cannot be written, a ROS argument is malformed, or a parameter or a QoS override is
            not allowed.
    """
    try:
        rclpy.init(args=command_line, context=context, signal_handler_options=SignalHandlerOptions.NO)
        node = create()
    except (InvalidParameterTypeException, InvalidParameterValueException, RuntimeError, ValueError) as error:
        rclpy.try_shutdown(context=context)
        raise StartError(_describe(error)) from error
    _warn_of_unknown_parameters(node, sys.argv if command_line is None else command_line)
    return node


def _describe(error: Exception) -> str:
    """Return the text of an rclpy error, with the remedy if it is known."""
    if type(error).__name__ == "UnknownROSArgsError":  # its text is a list, and rclpy does not export it
        unknown = str(error).strip("[]")
        return f"after --ros-args, ROS does not know {unknown}; it takes -p NAME:=VALUE and -r FROM:=TO"
    is_log_folder_error = re.search("log(ging)? directory", str(error))  # the wording of rcl, or of rcl_logging
    return f"{error}{'; set ROS_LOG_DIR to a folder that can be written' if is_log_folder_error else ''}"


def _warn_of_unknown_parameters(node: Node, command_line: list[str]) -> None:
    """Warn about given parameters that the node does not have, because rclpy ignores them silently.

    Parameters of the flow node are reported only if the command line itself names them: the launch file passes the flow
    node's parameter file to all nodes, because its ``use_sim_time`` applies to consumers too.
    """
    named = {word.partition(":=")[0] for flag, word in pairwise(command_line) if flag in ("-p", "--param")}
    elsewhere = DECLARATIONS.keys() - named
    known = list(node.get_parameters_by_prefix(""))
    given = getattr(node, "_parameter_overrides", {})  # rclpy has no public list of them
    for name in given:
        # qos_overrides are declared when the subscription is created, which may be later.
        if name not in known and name not in elsewhere and not name.startswith("qos_overrides."):
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            node.get_logger().warning(f"ignored the parameter '{name}', which this node does not have{hint}")

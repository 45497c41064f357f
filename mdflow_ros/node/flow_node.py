# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``flow_node``: a camera topic in, optical flow and its confidence out."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING

from mdflow_ros.core.allocator import share_arenas

if TYPE_CHECKING:
    from mdflow_ros.core.stop_signal import StopSignal
    from mdflow_ros.node.lifecycle_node import FlowNode

SHUTDOWN_TIMEOUT = 5.0
"""How long to wait for an inference at the end, in seconds."""

USAGE_ERROR = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the node until a signal stops it; returns the exit status."""
    # Until the node runs, Ctrl-C simply ends the process. What is imported below takes about a second.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    share_arenas()
    import rclpy
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
    from rclpy.signals import SignalHandlerOptions
    from rclpy.utilities import remove_ros_args

    from mdflow_ros.core.stop_signal import StopSignal
    from mdflow_ros.node.lifecycle_node import FlowNode

    _parse(remove_ros_args(sys.argv if arguments is None else arguments)[1:])
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        node = FlowNode()
    except (InvalidParameterValueException, InvalidParameterTypeException, ValueError) as error:
        return _fail(str(error))
    except RuntimeError as error:  # rclpy's for the log folder, command line and QoS overrides
        return _fail(f"{error}{_log_folder_advice(str(error))}")
    return _run(node, StopSignal())


def _parse(arguments: list[str]) -> None:
    """Answer --help, and refuse arguments that ROS does not know either."""
    parser = argparse.ArgumentParser(
        prog="flow_node",
        description="Estimate the optical flow between consecutive images of a camera topic, and its confidence.",
        epilog="Example: flow_node --ros-args -r image:=/camera/image_raw -p inference_size:=[640,384]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    from mdflow_ros.node.parameters import DECLARATIONS

    parameters = "\n".join(f"  {name} ({d.default!r}): {d.description}" for name, d in DECLARATIONS.items())
    parser.epilog = f"{parser.epilog}\n\nparameters and their defaults (--ros-args -p NAME:=VALUE):\n{parameters}"
    parser.parse_args(arguments)


def _run(node: FlowNode, stop: StopSignal) -> int:
    import rclpy

    from mdflow_ros.node.executor import FlowExecutor, spin_until

    executor = FlowExecutor(node.slow_groups)
    executor.add_node(node)
    spin_until(lambda: stop.requested or node.exit_code is not None, executor, node)
    is_idle = node.stop(SHUTDOWN_TIMEOUT)
    executor.shutdown(timeout_sec=0)
    node.destroy_node()
    rclpy.try_shutdown()
    exit_code = node.exit_code or 0
    if not is_idle:
        # Python would end the thread in the middle of native code, which aborts the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    return exit_code


def _fail(message: str) -> int:
    import rclpy

    print(f"error: {message}", file=sys.stderr)
    rclpy.try_shutdown()
    return USAGE_ERROR


def _log_folder_advice(message: str) -> str:
    if "log" not in message.lower():
        return ""
    return "; set ROS_LOG_DIR to a folder that can be written"


if __name__ == "__main__":
    sys.exit(main())

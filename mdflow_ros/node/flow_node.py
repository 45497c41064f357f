# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""flow_node: estimate the optical flow between consecutive images of a camera topic, and its confidence.

    flow_node --ros-args -r image:=/camera/image_raw -p inference_size:=[640,384]

docs/node.md describes its topics and services.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from mdflow_ros.core.allocator import share_arenas

if TYPE_CHECKING:
    from mdflow_ros.core.stop_signal import StopSignal
    from mdflow_ros.node.lifecycle_node import FlowNode

SHUTDOWN_TIMEOUT = 5.0
"""How long to wait for a running inference at shutdown, in seconds."""


def main(arguments: list[str] | None = None) -> int:
    """Run the node until a signal stops it; returns the exit status."""
    # Until the node runs, Ctrl-C simply ends the process. The imports below take about a second.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    share_arenas()
    from mdflow_ros.core.stop_signal import StopSignal
    from mdflow_ros.node.lifecycle_node import FlowNode
    from mdflow_ros.node.parameters import DECLARATIONS
    from mdflow_ros.node.start import USAGE_ERROR, StartError, node_parser, own_arguments, start

    try:
        node_parser(__doc__, DECLARATIONS).parse_args(own_arguments(sys.argv if arguments is None else arguments))
        node = start(FlowNode, arguments)
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    return _run(node, StopSignal())


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


if __name__ == "__main__":
    sys.exit(main())

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Start the console scripts. A missing package or an unusable file gives a one-line error instead of a traceback.

``entry_points.record_bag`` is the ``main`` of ``mdflow_ros.commands.record_bag``, imported when it is called.
"""

from __future__ import annotations

import importlib
import io
import re
import sys
from collections.abc import Callable
from importlib import metadata

CONSUMERS = ("flow_view", "depth_from_motion", "moving_objects", "time_to_contact", "px4_optical_flow", "flow_points")
"""Nodes that use the flow, see ``docs/navigation``."""

_PLACES = {
    "flow_node": "mdflow_ros.node.flow_node",
    "camera_player": "mdflow_ros.demo.camera_player",
    "flow_recorder": "mdflow_ros.demo.flow_recorder",
    **{name: f"mdflow_ros.navigation.nodes.{name}_node" for name in CONSUMERS},
}
"""Commands that are not in ``mdflow_ros.commands``."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as in shells."""

_ROS = re.compile(r"rclpy|[a-z0-9_]+_(msgs|srvs|interfaces)|builtin_interfaces")
ROS_MISSING = "source ROS 2 first (source /opt/ros/<distro>/setup.bash), or install its wheels: pip install '.[ros]'"

_OLD_FOR_NUMPY = re.compile(r"numpy\.(_?core\.)?multiarray failed to import")
NUMPY_TOO_NEW = (
    "cannot import a package that was built for NumPy 1, such as OpenCV or cv_bridge from apt, beside NumPy 2; "
    "run: pip install 'numpy<2'"
)


def __getattr__(name: str) -> Callable[[], int]:
    if name.startswith("_"):
        raise AttributeError(name)
    place = _PLACES.get(name, f"mdflow_ros.commands.{name}")
    return starter(name, place, f"pip install '.{_extra(name, place)}'")


def _extra(name: str, place: str) -> str:
    """Return the extras, in brackets, that a command needs beyond those of the node."""
    if place.startswith("mdflow_ros.demo."):
        return "[demo]"
    return {"flow_rerun": "[rerun]", "record_bag": "[recording]", "repair_bag": "[recording]"}.get(name, "")


def starter(name: str, module: str, install: str) -> Callable[[], int]:
    """Return a function that runs the ``main`` of ``module`` and returns its exit status; 130 after Ctrl-C.

    Args:
        name: of the command, for the error.
        module: imported when the function is called.
        install: command that installs the packages that may be missing, apart from those of ROS 2.
    """

    def main() -> int:
        _escape_unprintable_names()
        try:
            return int(importlib.import_module(module).main() or 0)
        except ImportError as error:
            reason = _reason(error, install)
            if reason is None:
                raise
            print(f"error: {name} {reason}", file=sys.stderr)
        except OSError as error:  # a full disk or a read-only folder; the text names the file
            print(f"error: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            return INTERRUPTED
        return 1

    return main


def _escape_unprintable_names() -> None:
    """Print file names that are not UTF-8, which Linux allows, with escapes instead of raising an error."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _reason(error: ImportError, install: str) -> str | None:
    """Return why an import failed and what to do, or None if this package itself is at fault."""
    if _OLD_FOR_NUMPY.search(str(error)):
        return NUMPY_TOO_NEW
    missing = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or missing in ("", "mdflow_ros", "mdflow_training"):
        return None
    remedy = ROS_MISSING if _ROS.fullmatch(missing) else f"in your clone of mdflow_ros, run: {_keeping_numpy(install)}"
    return f"needs the Python package '{missing}', which is not installed; {remedy}"


def _keeping_numpy(install: str) -> str:
    """Return a pip command that keeps numpy 1 if it is installed: apt's ROS 2, up to Kilted, is compiled for it."""
    try:
        is_1 = metadata.version("numpy").startswith("1.")
    except metadata.PackageNotFoundError:
        is_1 = False
    return f"{install} 'numpy<2'" if is_1 else install

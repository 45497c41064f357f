# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Optical flow with confidence for ROS 2, and its label-free adaptation to a robot's own world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mdflow_ros.version import __version__ as __version__

if TYPE_CHECKING:
    from mdflow_ros.estimator import FlowEstimate as FlowEstimate
    from mdflow_ros.estimator import FlowEstimator as FlowEstimator

__all__ = ["FlowEstimate", "FlowEstimator"]


def __getattr__(name: str) -> Any:
    """Import the estimator at first use, because recording and repairing bags need no engine."""
    if name in __all__:
        from mdflow_ros import estimator

        return getattr(estimator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

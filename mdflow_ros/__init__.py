# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Optical flow with confidence for ROS 2, and its label-free adaptation to a robot's own world."""

__version__ = "0.1.0"

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Optical flow without ROS and without torch: numpy in, numpy out."""

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The ROS nodes of `mdflow_ros.navigation`."""

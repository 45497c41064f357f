# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Compute inputs for navigation from the flow. The functions here need no ROS; their nodes are in `nodes`."""

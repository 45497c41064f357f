# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Consumers of the flow: what navigation needs. ROS-free functions here, their nodes in `nodes`."""

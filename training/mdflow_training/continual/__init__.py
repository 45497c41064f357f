# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Continual adaptation on the robot: record while it drives, adapt while it is idle, deploy, and roll back."""

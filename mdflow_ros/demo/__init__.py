# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The demo's two processes besides the flow node: a camera player and a flow recorder."""

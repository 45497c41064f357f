# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Thin nodes around the functions of `mdflow_ros.navigation`."""

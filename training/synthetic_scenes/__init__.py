# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered scenes with exact flow: those that pretraining learns from, and the world of a robot."""

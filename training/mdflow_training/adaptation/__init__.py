# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Mutual distillation: the stages of MDFlow, their labels and their settings."""

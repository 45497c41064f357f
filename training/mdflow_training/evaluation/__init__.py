# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measurement against ground truth: data sets, file formats, metrics, baselines, tables and pictures."""

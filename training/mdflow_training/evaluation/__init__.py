# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure by ground truth: data sets and file formats, metrics, other methods, tables and pictures."""

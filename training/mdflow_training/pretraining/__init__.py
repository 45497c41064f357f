# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Supervised training of the bundled teacher on generated pairs."""

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Change a training pair's looks and geometry, its flows and masks alike."""

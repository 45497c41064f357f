# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Change the appearance and geometry of training pairs, with their flows and masks."""

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""From recordings to pairs of frames: open bags, videos and folders, filter, store, pair and batch."""

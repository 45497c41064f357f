# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop and its parts: batches, checkpoints, logs, guards, processes."""

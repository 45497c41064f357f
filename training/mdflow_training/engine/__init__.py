# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop and what it needs: batches, checkpoints, logs, guards, processes."""

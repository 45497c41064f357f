# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What every training needs, pretraining and adaptation alike: processes, random seeds, checkpoints."""

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Judge models without labels: scores, held-out metrics, the verdict."""

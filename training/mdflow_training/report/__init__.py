# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The report of an adaptation: measures on held-out pairs, the verdict, the page, the model with its card."""

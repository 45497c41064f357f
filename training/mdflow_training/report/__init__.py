# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What an adaptation leaves behind: measures on held-out pairs, the verdict, the page, the model with its card."""

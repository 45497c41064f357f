# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What training minimizes, and the masks of the pixels that count."""

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Every setting with its type, range, default and meaning; their values are in configs/."""

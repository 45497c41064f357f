# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Adapt continually on the robot: record while it drives, adapt while it is idle, deploy, and check."""

import sys

from mdflow_training.entry_points import adapt_daemon as main

if __name__ == "__main__":
    sys.exit(main())

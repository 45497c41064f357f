# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Render what a robot sees, with ground truth, to try the adaptation."""

import sys

from mdflow_training.entry_points import robot_world as main

if __name__ == "__main__":
    sys.exit(main())

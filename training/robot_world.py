# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Render what a robot sees, with true flow, to try the adaptation where the ground truth is known."""

import sys

from mdflow_training.entry_points import robot_world as main

if __name__ == "__main__":
    sys.exit(main())

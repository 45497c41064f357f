# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write the readable messages of a damaged or unfinished ROS 2 bag into a new bag that every ROS 2 tool reads."""

import sys

from mdflow_ros.entry_points import repair_bag as main

if __name__ == "__main__":
    sys.exit(main())

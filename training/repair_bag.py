# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write what is whole of a damaged or unfinished ROS 2 bag into a new one, which every tool of ROS 2 reads."""

import sys

from mdflow_ros.entry_points import repair_bag as main

if __name__ == "__main__":
    sys.exit(main())

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write what is whole of a damaged or unfinished ROS 2 bag into a new one, which every tool of ROS 2 reads."""

import sys

from mdflow_ros.commands.repair_bag import main

if __name__ == "__main__":
    sys.exit(main())

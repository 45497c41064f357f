# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Record camera topics into a bag, to adapt the model to what the robot sees."""

import sys

from mdflow_ros.entry_points import record_bag as main

if __name__ == "__main__":
    sys.exit(main())

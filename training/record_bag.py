# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Record camera topics into a bag, to adapt the model to what the robot sees."""

import sys

from mdflow_ros.commands.record_bag import main

if __name__ == "__main__":
    sys.exit(main())

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Make image pairs with exact flow and occlusion, each decided by a seed and a number alone."""

import sys

from mdflow_training.entry_points import synthetic as main

if __name__ == "__main__":
    sys.exit(main())

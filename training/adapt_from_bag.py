# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Adapt the teacher to a robot's world from its own recordings, without labels."""

import sys

from mdflow_training.entry_points import adapt_from_bag as main

if __name__ == "__main__":
    sys.exit(main())

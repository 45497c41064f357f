# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure a model's flow and confidence on data sets with ground truth."""

import sys

from mdflow_training.entry_points import evaluate as main

if __name__ == "__main__":
    sys.exit(main())

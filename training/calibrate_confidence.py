# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Fit the confidence of a model on generated pairs, and write the constants into its card."""

import sys

from mdflow_training.entry_points import calibrate_confidence as main

if __name__ == "__main__":
    sys.exit(main())

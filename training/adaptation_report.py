# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Compare two models on recordings without labels: better, the same, or worse."""

import sys

from mdflow_training.entry_points import adaptation_report as main

if __name__ == "__main__":
    sys.exit(main())

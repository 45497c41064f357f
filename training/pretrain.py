# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Train the teacher from scratch on synthetic pairs with known flow."""

import sys

from mdflow_training.entry_points import pretrain as main

if __name__ == "__main__":
    sys.exit(main())

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Train the teacher from scratch on synthetic pairs with known flow."""

import sys

from mdflow_training.commands.pretrain import main

if __name__ == "__main__":
    sys.exit(main())

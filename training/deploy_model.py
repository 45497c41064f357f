# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Add a model to the store and load it in the running node, or roll back to the previous one."""

import sys

from mdflow_ros.entry_points import deploy_model as main

if __name__ == "__main__":
    sys.exit(main())

# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Put a model into the store and have the running node take it over, or go back to the one before."""

import sys

from mdflow_ros.entry_points import deploy_model as main

if __name__ == "__main__":
    sys.exit(main())

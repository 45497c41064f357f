# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The version of the package, as in setup.py and package.xml."""

__version__ = "0.1.0"

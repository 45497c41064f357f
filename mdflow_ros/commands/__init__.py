# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of the robot side: each parses arguments, calls the library and prints. Nothing imports them."""

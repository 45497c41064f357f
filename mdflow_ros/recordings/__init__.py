# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Bags, videos and folders of images: read, record, repair. Needs neither torch nor ROS, except to record."""

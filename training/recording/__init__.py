# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write bags of camera topics, and read what is whole of damaged ones."""

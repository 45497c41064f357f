# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The report of an adaptation: comparison on held-out pairs, verdict, HTML page, and the adapted model's card."""

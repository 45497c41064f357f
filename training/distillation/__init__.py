# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""MDFlow's loop: its stages, pseudo-labels and guards, and the label-free choice of the best teacher."""

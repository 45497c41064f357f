# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Training, evaluation and adaptation of the teacher. Needs torch; the node does not.

The files of this folder are command lines. What they are made of lies in the folders beside them.
"""

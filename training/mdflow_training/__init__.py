# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Training, evaluation and adaptation of the teacher. Needs torch; the node does not.

The files in ``training/`` are commands; this package is the library behind them.
"""

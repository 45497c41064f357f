# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Training, evaluation and adaptation of the teacher. Needs torch; the node does not.

The files in ``training/`` are commands; this package is the library behind them.
"""

import os

# How long torch's threads spin while they wait for each other. With libgomp's default, training is several times slower
# when other programs need the cores; on an idle machine it makes no difference. Torch reads it at import.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

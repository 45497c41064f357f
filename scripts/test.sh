#!/usr/bin/env bash
# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
#
# Set up and run every check: ruff, mypy, pytest. All of them run, even when one fails.
#
#   scripts/test.sh [PYTEST ARGUMENTS]     such as: scripts/test.sh -k confidence -x
#   ROS_WHEELS=jazzy scripts/test.sh       with another distribution of ROS 2 from PyPI
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

scripts/setup.sh --training || exit

# ROS 2 processes of tests stay on this machine: shared memory alone. A discovery range of LOCALHOST would make Fast DDS
# ignore the choice of transport, and lose large images.
export FASTDDS_BUILTIN_TRANSPORTS='SHM?sockets_size=16MB' ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET

failed=()
check() {
    echo "== $*"
    .venv/bin/python -m "$@" || failed+=("$1")
}
check ruff check .
check ruff format --check .
check mypy -p mdflow_ros -p mdflow_training
check mypy benchmarks
check pytest --durations=15 "$@"

if ((${#failed[@]})); then
    echo "FAILED: ${failed[*]}" >&2
    exit 1
fi

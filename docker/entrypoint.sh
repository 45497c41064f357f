#!/usr/bin/env bash
# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
#
# Run a command in the workspace's environment.
set -e
# shellcheck source=/dev/null
source /ws/install/setup.bash
exec "$@"

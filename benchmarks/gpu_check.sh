#!/usr/bin/env bash
# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
#
# Check this machine's GPU in less than 8 minutes: agreement with the CPU, latency, memory, build time.
#
#   benchmarks/gpu_check.sh                       TensorRT, or ONNX Runtime where there is none, on a sample clip
#   benchmarks/gpu_check.sh --pairs FOLDER        on your pairs with true flow
#   benchmarks/gpu_check.sh --backend onnxruntime-cuda
#
# Results: build/gpu_check/gpu_check.json and gpu_check.md. Engines stay cached; what the time did not suffice for is
# measured when you run it again. More: benchmarks/gpu_check.sh --help
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python
[[ -x $python ]] || python=python3
export PYTHONPATH=$root:$root/training${PYTHONPATH:+:$PYTHONPATH}
exec "$python" "$root/benchmarks/gpu_check.py" "$@"

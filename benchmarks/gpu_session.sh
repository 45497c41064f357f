#!/usr/bin/env bash
# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
#
# Use a GPU that is available for a short time, without network: check it, train the teacher, run the adaptation study.
#
#   benchmarks/gpu_session.sh check       latency and agreement of the bundled model (benchmarks/gpu_check.py)
#   benchmarks/gpu_session.sh pretrain    a cycle of pretraining; run it again to resume where it stopped
#   benchmarks/gpu_session.sh adapt       mutual distillation with a RAFT student on a rendered world
#   benchmarks/gpu_session.sh             all three, each for at most LIMIT seconds
#
# Before, where there is a network: training/fetch_textures.py && training/fetch_textures.py --pack build/textures.tar
# and, if the machine lacks them: pip install --no-deps --target build/packages embreex trimesh
# To resume on a fresh machine, copy OUT/parts of the last session there. Every file in it has at most 16 MiB.
#
# Environment: OUT (build/gpu_session), PACK (build/textures.tar), LIMIT (560 seconds a step), PYTHON, CONFIG (of
# pretraining), FRAMES (600, of the rendered world), STUDY (further arguments of benchmarks/adaptation_study.py).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${OUT:-$root/build/gpu_session}
pack=${PACK:-$root/build/textures.tar}
limit=${LIMIT:-560}
python=${PYTHON:-$root/.venv/bin/python}
[[ -x $python ]] || python=python3
part_bytes=16777216
export PYTHONPATH=$root:$root/training${PYTHONPATH:+:$PYTHONPATH}:$root/build/packages
mkdir -p "$out/parts"

# Run a command for at most LIMIT seconds. Being stopped is success: each step resumes.
limited() {
    local status=0
    timeout --signal=INT --kill-after=20 "$limit" "$@" || status=$?
    if ((status == 124 || status == 137)); then echo "stopped after $limit s: run the step again to resume"; return 0; fi
    return "$status"
}

check() {
    limited "$python" "$root/benchmarks/gpu_check.py" --out "$out/parts/check"
}

pretrain() {
    local run=$out/pretrain status=0
    if [[ ! -d $out/textures ]]; then
        mkdir -p "$out/unpacked"
        tar -xf "$pack" -C "$out/unpacked"
        mv "$out/unpacked" "$out/textures"
    fi
    if [[ ! -d $run ]] && compgen -G "$out/parts/last.pt.*" >/dev/null; then
        mkdir -p "$run"
        cp "$out/parts/config.yaml" "$out/parts/curve.csv" "$run/"
        cat "$out"/parts/last.pt.* >"$run/last.pt"
    fi
    limited "$python" "$root/training/pretrain.py" --config "${CONFIG:-$root/training/configs/pretrain_gpu.yaml}" \
        --textures "$out/textures" --out "$run" || status=$?
    if [[ -f $run/last.pt ]]; then
        rm -f "$out"/parts/last.pt.*
        split --bytes="$part_bytes" "$run/last.pt" "$out/parts/last.pt."
        for file in config.yaml curve.csv best.pth last.pth; do
            if [[ -f $run/$file ]]; then cp "$run/$file" "$out/parts/"; fi
        done
    fi
    return "$status"
}

adapt() {
    local world=$out/world
    if [[ ! -d $world/truth_of_recording ]]; then
        "$python" "$root/training/robot_world.py" --out "$world" --frames "${FRAMES:-600}"
        "$python" "$root/training/robot_world.py" --out "$world" --match "$world/frames"
    fi
    # shellcheck disable=SC2086  # STUDY holds several arguments
    limited "$python" "$root/benchmarks/adaptation_study.py" "$world/frames" --ground-truth "$world/truth_of_recording" \
        --out "$out/study" --seeds 0 --only "student raft_small, from scratch" ${STUDY:-}
    find "$out/study" -name errors.json -exec cp {} "$out/parts/study_errors.json" \;
}

case ${1:-all} in
check | pretrain | adapt) "$1" ;;
all)
    failed=()
    for step in check pretrain adapt; do
        echo "== $step"
        "${BASH_SOURCE[0]}" "$step" || failed+=("$step")
    done
    if ((${#failed[@]})); then echo "FAILED: ${failed[*]}" >&2; exit 1; fi
    ;;
*) sed -n '5,18s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac

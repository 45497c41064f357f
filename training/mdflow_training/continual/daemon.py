# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Choose the next step of a continual adaptation and run it in a process that can be interrupted."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from mdflow_ros.deployment.deploy import deploy, roll_back
from mdflow_ros.deployment.running_node import NodeError
from mdflow_ros.deployment.store import Version
from mdflow_ros.entry_points import INTERRUPTED
from mdflow_ros.model.card import BUNDLED_MODEL, ModelError
from mdflow_training.adaptation.outcome import ADAPTED_NAME
from mdflow_training.continual.workspace import CurrentRun, Workspace
from mdflow_training.judging.verdict import NOT_DEPLOYED, Verdict

ENDED = {NOT_DEPLOYED, *(verdict.exit_status for verdict in Verdict)}
"""Exit statuses of an adaptation that is complete."""

EXIT_TIMEOUT = 60.0
"""Seconds that an interrupted process has to exit before it is killed."""

END_WITH_DAEMON = ("setpriv", "--pdeathsig", "INT")
"""Prefix that makes Linux interrupt the child when the daemon dies, even by SIGKILL. ``setpriv`` is in util-linux."""

LOWEST_PRIORITY = ("nice", "-n", "19")
CONDITION_TIMEOUT = 30.0
"""A condition that has not finished after this many seconds counts as not met."""

MAX_FAILURES = 3
"""Failed attempts in a row after which an adaptation or comparison is given up; its recordings are then unusable."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Limits of the daemon.

    Attributes:
        bag_seconds: maximum length of a recording.
        workspace_bytes: maximum size of all recordings and runs.
        run_seconds: maximum length of an adaptation, over all resumed parts.
        threads: CPU threads of an adaptation; 0 for all cores.
        poll_seconds: interval between two checks of the condition.
        retry_seconds: wait after a failed attempt, for example until somebody has cleared a full disk.
        disk_reserve: bytes to leave free on the disk.
    """

    bag_seconds: float = 600.0
    workspace_bytes: float = 20e9
    run_seconds: float = 4 * 3600.0
    threads: int = 0
    poll_seconds: float = 5.0
    retry_seconds: float = 600.0
    disk_reserve: float = 2e9


@dataclass(frozen=True)
class Programs:
    """Command lines of the daemon's processes; the daemon appends further arguments.

    Attributes:
        record: starts `record_bag`.
        adapt: starts `adapt_from_bag`, with its settings.
        compare: starts `adaptation_report`.
    """

    record: Sequence[str] = (sys.executable, "-m", "mdflow_ros.commands.record_bag")
    adapt: Sequence[str] = (sys.executable, "-m", "mdflow_training.commands.adapt_from_bag")
    compare: Sequence[str] = (sys.executable, "-m", "mdflow_training.commands.adaptation_report")


class Daemon:
    """Records while the robot is busy; while it is idle, adapts, deploys, and checks deployed models on new recordings.

    Args:
        workspace: folder of recordings, runs, models and history.
        topics: image topics to record and to learn from.
        condition: a command that exits with 0 while the robot is idle, for example plugged in.
        programs: the programs to run.
        limits: limits of time, memory and disk space.
        node: full name of the running node; ``None`` updates only the store.
        stopped: returns whether the daemon should stop.
    """

    def __init__(
        self,
        workspace: Workspace,
        topics: Sequence[str],
        condition: Sequence[str],
        programs: Programs,
        limits: Limits,
        node: str | None,
        stopped: Callable[[], bool],
    ) -> None:
        self._workspace, self._topics = workspace, topics
        self._condition, self._programs = list(condition), programs
        self._limits, self._node, self._stopped = limits, node, stopped
        self._offered = False

    def run(self) -> None:
        """Run until stopped."""
        while not self._stopped():
            logger.info("%s", self.step())

    def step(self) -> str:
        """Take the next step; return a description of it.

        Raises:
            ValueError: the condition cannot be run.
        """
        history = self._workspace.history
        if not self._is_idle():
            self._offered = False
            return self._record()
        if history.to_deploy is not None and not self._offered:
            self._offered = True
            return self._deploy(history.to_deploy)
        fresh = self._workspace.unused()
        if history.current is None and not fresh:
            self._wait(self._limits.poll_seconds)
            return "nothing to do: no new recording"
        if not self._workspace.free_disk(int(self._limits.disk_reserve)):
            self._wait(self._limits.poll_seconds)
            return f"not adapting: the disk has less than {self._limits.disk_reserve / 1e9:g} GB free"
        if history.on_trial is not None and fresh:
            return self._check_on(fresh[-1])
        if history.current is None:
            history.runs += 1
            deployed = self._workspace.store.current()
            before = None if deployed is None else deployed.name
            history.current = CurrentRun(f"{history.runs:04d}", fresh, deployed_before=before)
            self._workspace.save()
        return self._adapt(history.current)

    def _is_idle(self) -> bool:
        try:
            ended = subprocess.run(self._condition, timeout=CONDITION_TIMEOUT, capture_output=True, check=False)
        except subprocess.TimeoutExpired:
            logger.warning("the condition %s did not answer within %.0f s", self._condition, CONDITION_TIMEOUT)
            return False
        except OSError as error:
            raise ValueError(f"the condition cannot be run: {error}") from error
        return ended.returncode == 0

    def _record(self) -> str:
        limits = self._limits
        if not self._workspace.make_room(int(limits.workspace_bytes), int(limits.disk_reserve)):
            self._wait(limits.poll_seconds)
            return (
                "not recording: runs and unused recordings fill the space of the workspace, "
                f"or the disk has less than {limits.disk_reserve / 1e9:g} GB free"
            )
        name = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        command = [*self._programs.record, "--topics", *self._topics, "--out", str(self._workspace.bags / name)]
        command += ["--duration", str(limits.bag_seconds), "--disk-reserve", str(limits.disk_reserve / 1e9)]
        # At normal priority: with a low one, a busy robot would lose frames.
        status = self._run(command, while_true=lambda: not self._is_idle())
        if status:
            self._wait(limits.poll_seconds)  # the camera may not have started yet
        return f"recorded {name}, exit status {status}"

    def _adapt(self, current: CurrentRun) -> str:
        workspace, history = self._workspace, self._workspace.history
        out = workspace.runs / current.name
        command = [*self._programs.adapt, *self._sources(current.bags), "--out", str(out)]
        command += ["--model", str(self._initial_model(current))]
        command += ["--deploy", "--store", str(workspace.store.folder), *(["--node", self._node] if self._node else [])]
        left = self._limits.run_seconds - current.seconds
        start = time.monotonic()
        status = self._run([*LOWEST_PRIORITY, *command], lambda: self._is_idle() and time.monotonic() - start < left)
        current.seconds += time.monotonic() - start
        deployed = workspace.store.current()
        # Compared with the start of the run, not of this part: a killed daemon may have missed the change.
        if deployed is not None and deployed.name != current.deployed_before:
            history.on_trial = deployed.name
            history.to_deploy = None
        if status not in ENDED and current.seconds < self._limits.run_seconds:
            if self._is_interrupted(status):
                workspace.save()
                return f"adaptation {current.name} is interrupted and will be resumed"
            if not self._count_failure(f"adaptation {current.name}", status):
                return f"adaptation {current.name} will be tried again"
        if status == NOT_DEPLOYED:
            history.to_deploy = current.name
        given_up = history.failures == MAX_FAILURES
        history.used += current.bags
        history.current, history.failures = None, 0
        workspace.save()
        workspace.tidy(current.name)
        if given_up:
            return f"adaptation {current.name} is given up after {MAX_FAILURES} failed attempts; see what it printed"
        return f"adaptation {current.name} ended with exit status {status}; see {out}"

    def _initial_model(self, current: CurrentRun) -> Path:
        """Return the model that an adaptation started from; all its parts must start from the same one."""
        if current.deployed_before is None:
            return BUNDLED_MODEL
        try:
            return self._workspace.store.version(current.deployed_before).model
        except ModelError:  # it was removed
            return BUNDLED_MODEL

    def _deploy(self, run: str) -> str:
        """Deploy a model that could not be deployed before; if it fails, try again when the robot is next idle."""
        workspace, history = self._workspace, self._workspace.history
        try:
            done = deploy(workspace.runs / run / ADAPTED_NAME, workspace.store, self._node)
            deployed = workspace.store.current()
        except (ModelError, NodeError, OSError) as error:
            return f"the model of adaptation {run} cannot be deployed yet: {error}"
        history.on_trial, history.to_deploy = deployed.name if deployed else None, None
        workspace.save()
        return done

    def _check_on(self, recording: str) -> str:
        """Compare the deployed model with its predecessor on a recording that neither was trained on."""
        workspace, history = self._workspace, self._workspace.history
        done: str | None = "the model on trial is no longer deployed"
        try:
            after = workspace.store.current()
            if after is not None and after.name == history.on_trial:
                done = self._try_out(after, recording)
        except (ModelError, NodeError, OSError) as error:
            self._wait(self._limits.poll_seconds)
            return f"the deployed model cannot be checked: {error}"
        if done is None:
            return "the check of the deployed model is interrupted and will be repeated"
        history.on_trial, history.failures = None, 0
        workspace.save()
        return f"checked on {recording}: {done}"

    def _try_out(self, after: Version, recording: str) -> str | None:
        """Keep the model on trial or roll it back; return what was done, or None to repeat the comparison."""
        workspace = self._workspace
        try:
            before = workspace.store.previous()
            command = [*self._programs.compare, *self._sources([recording])]
            command += ["--before", str(BUNDLED_MODEL if before is None else before.model), "--after", str(after.model)]
            out = f"check_{after.name}"
            status = self._run([*LOWEST_PRIORITY, *command, "--out", str(workspace.runs / out)], self._is_idle)
            if not self._is_interrupted(status):
                workspace.tidy(out)
            if status == Verdict.WORSE.exit_status:
                return roll_back(workspace.store, self._node)
        except ModelError as error:  # damaged or missing: a repetition would not help
            return f"{after.name} stays, as the model before it cannot be used: {error}"
        if status in (Verdict.IMPROVED.exit_status, Verdict.NO_CHANGE.exit_status):
            return f"{after.name} stays"
        if self._is_interrupted(status) or not self._count_failure(f"the comparison of {after.name}", status):
            return None
        return f"{after.name} stays, the comparison failed with exit status {status}"

    def _is_interrupted(self, status: int) -> bool:
        return status in (INTERRUPTED, -signal.SIGINT) or self._stopped() or not self._is_idle()

    def _count_failure(self, what: str, status: int) -> bool:
        """Count a failed attempt; return True if it was the last one, else wait for the next one and return False."""
        self._workspace.history.failures += 1
        self._workspace.save()
        failures = self._workspace.history.failures
        logger.warning("%s failed with exit status %d, attempt %d of %d", what, status, failures, MAX_FAILURES)
        if failures >= MAX_FAILURES:
            return True
        end = time.monotonic() + self._limits.retry_seconds
        while time.monotonic() < end and not self._stopped() and self._is_idle():
            self._wait(self._limits.poll_seconds)
        return False

    def _sources(self, recordings: Sequence[str]) -> list[str]:
        return [f"bag:{self._workspace.bags / name}#{topic}" for name in recordings for topic in self._topics]

    def _run(self, command: Sequence[str], while_true: Callable[[], bool]) -> int:
        """Run a command to its end, or interrupt it when ``while_true`` returns False; return its exit status."""
        environment = dict(os.environ)
        if self._limits.threads:
            environment["OMP_NUM_THREADS"] = str(self._limits.threads)
        # In its own session, so Ctrl-C reaches only the daemon, which then interrupts the process.
        command = [*END_WITH_DAEMON, *command]
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        checked = time.monotonic()
        while process.poll() is None:
            self._wait(min(0.2, self._limits.poll_seconds))
            due = time.monotonic() - checked >= self._limits.poll_seconds
            if self._stopped() or (due and not while_true()):
                process.send_signal(signal.SIGINT)
                try:
                    return process.wait(EXIT_TIMEOUT)
                except subprocess.TimeoutExpired:
                    process.kill()
                    return process.wait()
            if due:
                checked = time.monotonic()
        return process.returncode

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopped() and time.monotonic() < end:
            time.sleep(min(0.1, seconds))

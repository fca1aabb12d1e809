"""`polytrain launch` without a SLURM: what is validated, what is written, what is said where SLURM is missing."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from configs.errors import ConfigError
from launch.cli import main
from launch.slurm import SCRIPT
from launch.sweeps import expand_sweep
from tests.conftest import ROOT

RECIPE = "configs/quickstart.yaml"

# Lines of `scontrol --oneliner show job` (SLURM 22.05), shortened: an array of which one task waits, and a stranger.
JOBS = """\
JobId=8 ArrayJobId=8 ArrayTaskId=1 JobName=quickstart JobState=PENDING Reason=Resources Dependency=(null) Restarts=1 \
RunTime=00:00:00 NodeList= WorkDir={folder} Comment=polytrain:{folder}/q.slurm/sweep-12.txt  Power=
JobId=9 ArrayJobId=8 ArrayTaskId=0 JobName=quickstart JobState=RUNNING Reason=None Dependency=(null) Restarts=0 \
RunTime=00:03:00 NodeList=gpu[07-08] WorkDir={folder} Comment=polytrain:{folder}/q.slurm/sweep-12.txt  Power=
JobId=10 JobName=other JobState=RUNNING Reason=None Restarts=0 RunTime=1:00 NodeList=n1 WorkDir=/ Comment=mine Power=
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of our own, and a PATH without SLURM."""
    (tmp_path / "bin").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def _command(here: Path, name: str, script: str) -> None:
    path = here / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)


def _error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["launch", *arguments]) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.err


def _dry(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["launch", "slurm", RECIPE, *arguments, "--dry-run"]) == 0
    return capsys.readouterr().out


def test_a_dry_run_is_the_script_with_its_flags_filled_in(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--nodes", "2", "--gpus-per-node", "2", "--time", "4:00:00", "--partition", "gpu"]
    script = _dry(capsys, *flags, "--sbatch", "signal=USR1@300", "--sbatch", "exclusive", "train.steps=7")
    sbatch = [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH --")]
    assert {"nodes=2", "gpus-per-node=2", "time=4:00:00", "partition=gpu", "exclusive", "requeue"} <= set(sbatch)
    assert [flag for flag in sbatch if flag.startswith("signal")] == ["signal=USR1@300"]
    assert f"output={here}/runs/quickstart.slurm/%x-%j.out" in sbatch
    assert f"set -- {RECIPE} train.steps=7" in script
    assert "export NPROC_PER_NODE=2" in script
    # The rest is the script of the package.
    body = SCRIPT.read_text().partition("set -euo pipefail\n")[2]
    assert script.endswith(body)
    assert not (here / "runs").exists()
    assert subprocess.run(["/bin/bash", "-n"], input=script, text=True).returncode == 0


def test_a_sweep_is_the_product_of_its_values() -> None:
    found = expand_sweep(["optimizer.lr=1e-3,3e-4", "model.dims=[1,2],{a: 3, b: 4}"], "runs/q")
    assert [overrides[1:] for overrides in found] == [
        ["optimizer.lr=1e-3", "model.dims=[1,2]"],
        ["optimizer.lr=1e-3", "model.dims={a: 3, b: 4}"],
        ["optimizer.lr=3e-4", "model.dims=[1,2]"],
        ["optimizer.lr=3e-4", "model.dims={a: 3, b: 4}"],
    ]
    assert found[1][0] == "run=runs/q.sweep/001-optimizer.lr=1e-3,model.dims=_a_3,_b_4_"
    assert len({overrides[0] for overrides in found}) == 4


def test_a_task_of_the_script_reads_its_line_of_the_sweep(here: Path) -> None:
    """The lines of the script that do so, with values that a shell would take apart."""
    overrides = ["run=runs/a b", "model.x={kind: 'y', z: \"$HOME\"}", "seed=1"]
    (here / "sweep.txt").write_text("seed=0\n" + shlex.join(overrides) + "\n")
    reading = SCRIPT.read_text().partition("overrides=()")[2].partition("\nfi\n")[0]
    script = f"set -euo pipefail\noverrides=(){reading}\nfi\nprintf '%s\\n' \"${{overrides[@]}}\""
    environment = {"SWEEP": "sweep.txt", "SLURM_ARRAY_TASK_ID": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["/bin/bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == overrides


def test_a_sweep_becomes_an_array(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = _dry(capsys, "--sweep", "optimizer.lr=1e-3,3e-4", "--sweep", "seed=0,1")
    assert "#SBATCH --array=0-3\n" in script
    assert "# task 3: run=runs/quickstart.sweep/003-optimizer.lr=3e-4,seed=1 optimizer.lr=3e-4 seed=1\n" in script
    assert "%x-%A_%a.out" in script


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such.yaml"], "no such recipe"),
        ([RECIPE, "model.dim=wide"], "model.dim: input should be a valid integer"),
        ([RECIPE, "--nodes", "0"], "--nodes 0: expected at least 1"),
        ([RECIPE, "--nodes", "3"], "cannot be cut into micro-batches of batch.micro=4 on 3 rank"),
        ([RECIPE, "--sweep", "optimizer.speed=1,2"], "optimizer.speed"),
        ([RECIPE, "--sweep", "optimizer.lr"], "expected key=value,value"),
        ([RECIPE, "--sweep", "seed=0,,1"], "expected key=value,value"),
        ([RECIPE, "--sweep", "seed=0", "--sweep", "seed=1"], "seed is swept twice"),
        ([RECIPE, "--sweep", "run=a,b"], "a folder of its own"),
        ([RECIPE, "--setup", "nowhere.sh"], "--setup nowhere.sh: no such file"),
        ([RECIPE], "sbatch: not on PATH"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in _error(capsys, "slurm", *arguments)
    assert sorted(path.name for path in here.iterdir()) == ["bin"]


@pytest.mark.parametrize("action", [["status"], ["status", "8"], ["logs", "8"], ["cancel", "8"]])
def test_without_slurm_it_is_said_which_command_is_missing(
    capsys: pytest.CaptureFixture[str], action: list[str]
) -> None:
    assert "scontrol: not on PATH. Do this on a machine of a SLURM cluster" in _error(capsys, *action)


def test_what_sbatch_says_is_passed_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _command(here, "sbatch", "echo 'sbatch: error: invalid partition specified: fast' >&2; exit 1")
    assert "invalid partition specified: fast" in _error(capsys, "slurm", RECIPE, "--partition", "fast")


def test_submitting_writes_beside_the_run_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _command(here, "sbatch", f'echo "$@" > {here}/called; echo "17;cluster"')
    assert main(["launch", "slurm", RECIPE, "--sweep", "seed=0,1"]) == 0
    folder = here / "runs" / "quickstart.slurm"
    assert (here / "called").read_text() == f"--parsable {folder}/job.sbatch\n"
    (sweep,) = folder.glob("sweep-*.txt")
    assert sweep.read_text().splitlines()[1] == "run=runs/quickstart.sweep/001-seed=1 seed=1"
    assert f"export SWEEP={sweep}\n" in (folder / "job.sbatch").read_text()
    assert "job 17: 2 run(s)" in capsys.readouterr().out
    assert not (here / "runs" / "quickstart").exists()


@pytest.fixture
def jobs(here: Path) -> Path:
    (here / "jobs").write_text(JOBS.format(folder=here))
    _command(here, "scontrol", f"/bin/cat {here}/jobs")
    _command(here, "scancel", f'echo "$@" > {here}/cancelled')
    (here / "q.slurm").mkdir()
    (here / "q.slurm" / "sweep-12.txt").write_text("run=q.sweep/000-seed=0 seed=0\nrun=q.sweep/001-seed=1 seed=1\n")
    run = here / "q.sweep" / "000-seed=0"
    run.mkdir(parents=True)
    rows = [{"step": 4, "loss": 2.5}, {"step": 5, "probe": "validation", "loss": 9.0}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return here


def _status(capsys: pytest.CaptureFixture[str], *which: str) -> list[dict[str, Any]]:
    assert main(["launch", "status", *which, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_status_tells_jobs_and_their_runs(jobs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waiting, running = _status(capsys)
    assert (waiting["job"], waiting["state"], waiting["reason"], waiting["step"]) == (
        "8_1",
        "PENDING",
        "Resources",
        None,
    )
    assert running == {
        "job": "8_0",
        "state": "RUNNING",
        "reason": None,
        "time": "00:03:00",
        "nodes": "gpu[07-08]",
        "restarts": "0",
        "step": 4,
        "loss": 2.5,
        "run": str(jobs / "q.sweep" / "000-seed=0"),
    }
    assert _status(capsys, "q") == _status(capsys, "8") == [waiting, running]
    assert _status(capsys, "8_0") == [running]
    assert _status(capsys, "10") == _status(capsys, "other") == []


def test_status_is_a_table_too(jobs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", "status", "8"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["JOB", "STATE", "REASON", "TIME", "NODES", "RESTARTS", "STEP", "LOSS", "RUN"]
    assert lines[1].split()[:8] == ["8_0", "RUNNING", "-", "00:03:00", "gpu[07-08]", "0", "4", "2.5000"]


def test_cancel_ends_the_array_once(jobs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", "cancel", "q"]) == 0
    assert (jobs / "cancelled").read_text() == "8\n"
    assert main(["launch", "cancel", "8_1"]) == 0
    assert (jobs / "cancelled").read_text() == "8_1\n"
    assert "10: no job of ours" in _error(capsys, "cancel", "10")


def test_logs_are_those_of_the_newest_job(jobs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("q-9.out", "q-10.out", "q-10-node0-n1.log", "q-110.out"):
        (jobs / "q.slurm" / name).write_text("".join(f"{name} line {number}\n" for number in range(30)))
    (jobs / "q.slurm" / "q-110.out").unlink()
    assert main(["launch", "logs", "q", "--lines", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "==> q.slurm/q-10-node0-n1.log <==",
        "q-10-node0-n1.log line 28",
        "q-10-node0-n1.log line 29",
        "",
        "==> q.slurm/q-10.out <==",
        "q-10.out line 28",
        "q-10.out line 29",
        "",
    ]
    assert "nothing: no logs" in _error(capsys, "logs", "nothing")


def test_overrides_may_follow_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert "set -- configs/quickstart.yaml seed=1 train.steps=7\n" in _dry(
        capsys, "seed=1", "--nodes", "1", "train.steps=7"
    )
    with pytest.raises(SystemExit):
        main(["launch", "slurm", RECIPE, "--no-such-flag"])


def test_a_bad_sweep_names_the_item() -> None:
    with pytest.raises(ConfigError, match="--sweep =1: expected"):
        expand_sweep(["=1"], "runs/q")


def test_scripts_are_in_the_package() -> None:
    listed = (ROOT / "setup.py").read_text()
    assert '"launch": ["*.sh", "*.sbatch", "kubernetes/*.yaml"]' in listed
    assert os.access(ROOT / "launch" / "torchrun.sh", os.X_OK)

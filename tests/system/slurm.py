"""A real SLURM for tests: one controller and two nodes, all on this machine, in a folder of their own.

Where SLURM is not installed and this is root on a Debian, it is installed. Everything ends with the session.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT

_PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
_SCRIPT = ROOT / "launch" / "slurm.sbatch"

# Two nodes on one host, with more cores than it may have. What is requeued waits for cred_expire, what waits for the
# scheduler for sched_interval: minutes by default. Ranks meet at a port that follows from the number of the job.
_CONF = """\
ClusterName=polytrain
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5,socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmctldTimeout=120
SlurmdTimeout=120
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
FirstJobId={first_job}
MpiDefault=none
KillWait=15
NodeName=n[1-2] NodeAddr=127.0.0.1 NodeHostname={host} Port=[{ports[1]}-{ports[2]}] CPUs=4 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2
"""


@dataclass(frozen=True)
class Slurm:
    """Commands of SLURM, and jobs of `launch/slurm.sbatch`."""

    conf: Path
    setup: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a login shell of this cluster would have."""
        ours = {"SLURM_CONF": str(self.conf), "POLYTRAIN_SETUP": str(self.setup), "PYTHONPATH": str(ROOT)}
        return {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")} | ours

    def call(self, *command: str, cwd: Path = ROOT) -> str:
        """The output of a command, which has to succeed."""
        done = subprocess.run(command, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def submit(self, *flags: str, arguments: Sequence[str], logs: Path, **variables: str) -> str:
        """Submit `launch/slurm.sbatch`, its logs in a folder; returns the number of the job."""
        logs.mkdir(exist_ok=True)
        exported = {"LOGS": str(logs), **variables}
        export = ",".join(f"{name}={value}" for name, value in exported.items())
        flags = (*flags, f"--output={logs}/job.out", f"--export=ALL,{export}")
        return self.call("sbatch", "--parsable", *flags, str(_SCRIPT), *arguments).strip()

    def facts(self, job: str) -> dict[str, str]:
        """What SLURM says of a job."""
        return dict(re.findall(r"(\w+)=(\S*)", self.call("scontrol", "--oneliner", "show", "job", job)))

    def end_of(self, job: str, timeout_s: float = 150) -> tuple[str, int]:
        """The state in which a job ended, and its exit code."""
        ends = ("COMPLETED", "FAILED", "CANCELLED")
        wait_until(lambda: self.facts(job)["JobState"] in ends, timeout_s)
        facts = self.facts(job)
        return facts["JobState"], int(facts["ExitCode"].partition(":")[0])


def wait_until(condition: Callable[[], bool], timeout_s: float = 150) -> None:
    """Look again and again; fail when the time is over."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.2)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A cluster of two nodes."""
    if os.geteuid() != 0:
        pytest.skip("starting a SLURM takes root")
    _install()
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool-n1", "spool-n2"):
        (folder / name).mkdir()
    setup = folder / "setup.sh"
    # Nodes share this machine: threads that wait by spinning would take the cores from each other.
    setup.write_text(f"export PATH={Path(sys.executable).parent}:$PATH OMP_NUM_THREADS=1\n")
    cluster = Slurm(folder / "slurm.conf", setup)
    host, first_job = socket.gethostname().partition(".")[0], 1 + os.getpid() % 10000
    cluster.conf.write_text(_CONF.format(folder=folder, host=host, ports=_ports(), first_job=first_job))
    try:
        _start_munge(folder)
        _start(cluster)
        yield cluster
        _stop(cluster)
    finally:
        for path in sorted(folder.glob("*.pid"), reverse=True):
            _end(int(path.read_text()))


def _install() -> None:
    if all(shutil.which(name) for name in _PROGRAMS):
        return
    if shutil.which("apt-get") is None:
        pytest.skip("SLURM is not installed, and there is no apt-get")
    install = ["apt-get", "install", "-y", "--no-install-recommends", "slurm-wlm", "munge"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (install, ["apt-get", "update"], install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        if command is install and done.returncode == 0:
            return
    pytest.skip(f"SLURM could not be installed: {done.stderr.strip()[-200:]}")


def _start_munge(folder: Path) -> None:
    """SLURM's authentication, with a key, a socket and a log of its own."""
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    files = {"key": key, "pid": folder / "munged.pid", "log": folder / "munged.log", "seed": folder / "munged.seed"}
    flags = [f"--{name}-file={path}" for name, path in files.items()]
    # By force: a temporary folder is readable by others, which it would refuse.
    subprocess.run(["munged", "--force", f"--socket={folder}/munge.socket", *flags], check=True, timeout=30)


def _start(cluster: Slurm) -> None:
    subprocess.run(["slurmctld", "-c", "-f", str(cluster.conf)], check=True, timeout=30)
    for node in ("n1", "n2"):
        subprocess.run(["slurmd", "-f", str(cluster.conf), "-N", node], check=True, timeout=30)
    command = ["sinfo", "--noheader", "--format=%T %D"]
    wait_until(lambda: subprocess.run(command, env=cluster.environment, capture_output=True).stdout == b"idle 2\n", 60)


def _stop(cluster: Slurm) -> None:
    """End all jobs and wait until they have ended: what they started outlives a slurmd."""
    subprocess.run(["scancel", "--user=root"], env=cluster.environment, timeout=30)
    with suppress(AssertionError):
        wait_until(lambda: not cluster.call("squeue", "--noheader"), 30)


def _ports() -> list[int]:
    """A free port, and two free ones in a row."""
    for first in range(17000, 19000, 3):
        with suppress(OSError):
            for port in range(first, first + 3):
                with closing(socket.socket()) as probe:
                    probe.bind(("127.0.0.1", port))
            return [first, first + 1, first + 2]
    raise AssertionError("no free ports")


def _end(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.terminate()
        with suppress(psutil.TimeoutExpired):
            process.wait(10)
        process.kill()

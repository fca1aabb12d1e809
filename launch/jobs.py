"""`polytrain launch status|logs|cancel`: jobs that `polytrain launch slurm` submitted, as SLURM and their runs tell.

SLURM itself is the record: it keeps a comment with each job, and forgets a job some minutes after its end (MinJobAge).
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from launch.slurm import MARK, call, require_command
from launch.tables import print_columns

_FACTS = {"state": "JobState", "reason": "Reason", "time": "RunTime", "nodes": "NodeList", "restarts": "Restarts"}
_NOTHING = ("", "None", "(null)")
_COLUMNS = ("job", "state", "reason", "time", "nodes", "restarts", "step", "loss", "run")


def add_arguments(parser: argparse.ArgumentParser, *, action: str) -> None:
    """The arguments of one of the three."""
    which = {} if action != "status" else {"nargs": "?"}
    parser.add_argument("which", metavar="RUN|JOB", help="a run folder, or a job: 17, 17_2", **which)  # type: ignore[arg-type]
    if action == "status":
        parser.add_argument("--json", action="store_true", help="print a list of objects")
    if action == "logs":
        parser.add_argument("--lines", type=int, default=20, help="last lines of each log (20)")


def status(arguments: argparse.Namespace) -> None:
    """Print what SLURM says of the jobs, and how far their runs have come."""
    rows = [_row(job) for job in _jobs(arguments.which)]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print_columns(_COLUMNS, rows)
    else:
        print("SLURM knows no such job (it forgets them some minutes after their end)")


def logs(arguments: argparse.Namespace) -> None:
    """Print the end of each log of a job, or of the newest job of a run."""
    if _is_number(arguments.which):
        files = [file for job in _jobs(arguments.which) for file in _logs_of(_folder(job), arguments.which)]
    else:
        folder = Path(f"{arguments.which}.slurm")
        found = [re.search(r"-(\d+)(_\d+)?\.out$", file.name) for file in folder.glob("*.out")]
        files = _logs_of(folder, str(max((int(item[1]) for item in found if item), default=0)))
    if not files:
        raise ConfigError(f"{arguments.which}: no logs. Give a run folder, or a job that SLURM still knows.")
    for file in dict.fromkeys(files):
        lines = file.read_text(errors="replace").splitlines()
        print("\n".join([f"==> {file} <==", *lines[max(0, len(lines) - arguments.lines) :], ""]))


def cancel(arguments: argparse.Namespace) -> None:
    """End jobs; what they train is saved first, if 30 s (KillWait) are enough for a step and a checkpoint."""
    jobs = [job for job in _jobs(arguments.which) if _is_alive(job)]
    if not jobs:
        raise ConfigError(f"{arguments.which}: no job of ours that waits or runs. polytrain launch status lists them.")
    arrays = {job.get("ArrayJobId", job["JobId"]) for job in jobs}
    numbers = [arguments.which] if _is_number(arguments.which) else sorted(arrays)
    call([require_command("scancel"), *numbers])
    print(f"cancelled: {', '.join(numbers)}")


def _is_alive(job: dict[str, str]) -> bool:
    return job["JobState"] in ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING")


def _jobs(which: str | None) -> list[dict[str, str]]:
    """Our jobs that SLURM knows: all, those of a run folder, or those of a number (an array has several)."""
    jobs = [_parsed(line) for line in call([require_command("scontrol"), "--oneliner", "show", "job"]).splitlines()]
    jobs = [job for job in jobs if job.get("Comment", "").startswith(MARK)]
    if which is None:
        return jobs
    if _is_number(which):
        return [job for job in jobs if which in (_number(job), job.get("ArrayJobId"))]
    return [job for job in jobs if _folder(job) == Path(f"{which}.slurm").absolute()]


def _parsed(line: str) -> dict[str, str]:
    return dict(re.findall(r"([A-Z]\w*)=(.*?)(?=\s+[A-Z][\w/:]*=|\s*$)", line))


def _is_number(which: str) -> bool:
    return re.fullmatch(r"\d+(_\d+)?", which) is not None


def _number(job: dict[str, str]) -> str:
    """As SLURM's commands take it: 17, or 17_2 for a task of an array."""
    return f"{job['ArrayJobId']}_{job['ArrayTaskId']}" if "ArrayTaskId" in job else job["JobId"]


def _place(job: dict[str, str]) -> Path:
    """What the comment names: the file of a sweep, or the folder of the job."""
    return Path(job["Comment"].removeprefix(MARK))


def _folder(job: dict[str, str]) -> Path:
    return _place(job).parent if _place(job).suffix == ".txt" else _place(job)


def _row(job: dict[str, str]) -> dict[str, Any]:
    run = _run(job)
    facts = {name: None if job[theirs] in _NOTHING else job[theirs] for name, theirs in _FACTS.items()}
    return {"job": _number(job), **facts, **_progress(run), "run": str(run or f"{_place(job)} (one for each line)")}


def _run(job: dict[str, str]) -> Path | None:
    """The run folder; None for tasks of an array that wait together."""
    if _place(job) == _folder(job):
        return _folder(job).with_suffix("")
    if not job["ArrayTaskId"].isdecimal():
        return None
    line = _place(job).read_text().splitlines()[int(job["ArrayTaskId"])]
    return Path(job["WorkDir"]) / shlex.split(line)[0].removeprefix("run=")


def _progress(run: Path | None) -> dict[str, Any]:
    from train.metrics import read_rows

    steps = [row for row in read_rows(run / "metrics.jsonl") if "probe" not in row] if run is not None else []
    return {"step": steps[-1]["step"], "loss": steps[-1]["loss"]} if steps else {"step": None, "loss": None}


def _logs_of(folder: Path, number: str) -> list[Path]:
    return sorted(file for file in folder.glob("*") if re.search(rf"-{number}[-_.]", file.name))

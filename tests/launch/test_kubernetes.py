from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from tests.conftest import ROOT
from train.recipe import load_recipe

MANIFEST = ROOT / "launch" / "kubernetes" / "pytorchjob.yaml"
# What the operator (v1) adds to the environment of the second pod of two.
OPERATOR = {
    "MASTER_ADDR": "quickstart-master-0",
    "MASTER_PORT": "23456",
    "WORLD_SIZE": "16",
    "RANK": "1",
    "PET_NNODES": "2",
    "PET_NODE_RANK": "1",
    "PET_NPROC_PER_NODE": "8",
}


def _job() -> dict:
    return yaml.safe_load(MANIFEST.read_text())


def _container(role: str) -> dict:
    (container,) = _job()["spec"]["pytorchReplicaSpecs"][role]["template"]["spec"]["containers"]
    return container


def test_the_manifest_is_a_pytorchjob_that_restarts_by_exit_code() -> None:
    job = _job()
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    replicas = job["spec"]["pytorchReplicaSpecs"]
    assert replicas.keys() == {"Master", "Worker"}
    assert {item["restartPolicy"] for item in replicas.values()} == {"ExitCode"}
    assert _container("Master") == _container("Worker")
    assert _container("Master")["name"] == "pytorch"
    assert int(job["spec"]["nprocPerNode"]) == _container("Master")["resources"]["limits"]["nvidia.com/gpu"]
    mounted = {item["name"] for item in _container("Master")["volumeMounts"]}
    assert mounted == {item["name"] for item in replicas["Master"]["template"]["spec"]["volumes"]}


def test_its_command_is_the_one_of_the_page_and_its_recipe_is_valid() -> None:
    container = _container("Master")
    assert " ".join(container["command"]) in (ROOT / "docs" / "launch.md").read_text()
    script, recipe = container["command"]
    assert (ROOT / script).stat().st_mode & 0o111
    assert load_recipe(ROOT / recipe, container["args"]).run == "/work/runs/quickstart"


def test_the_code_for_trying_again_is_one_that_the_operator_restarts() -> None:
    (code,) = [int(item["value"]) for item in _container("Master")["env"] if item["name"] == "POLYTRAIN_EXIT_TRY_AGAIN"]
    assert 128 <= code <= 255


def test_what_the_operator_says_reaches_torchrun(tmp_path: Path) -> None:
    """With an interpreter that prints how it is called."""
    echo = tmp_path / "echo"
    echo.write_text('#!/bin/sh\necho "$PET_NNODES $PET_NODE_RANK $*"\n')
    echo.chmod(0o755)
    container = _container("Worker")
    command = [str(ROOT / container["command"][0]), *container["command"][1:], *container["args"]]
    environment = OPERATOR | {"PYTHON": str(echo), "PATH": "/usr/bin:/bin"}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert said[:2] == ["2", "1"]  # torchrun reads these two by itself
    assert said[2:] == [
        *("-m", "launch.agent", "--nproc-per-node", "8"),
        *("--master-addr", "quickstart-master-0", "--master-port", "23456"),
        *("-m", "train", "configs/quickstart.yaml", "run=/work/runs/quickstart"),
    ]

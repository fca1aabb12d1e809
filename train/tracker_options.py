"""Options of every experiment tracker, and how a run goes on in each. Free of torch.

The trackers are Accelerate's (`accelerate.tracking`), which call the packages; none of those is a dependency of ours.
"""

from __future__ import annotations

import importlib.util
import operator
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from configs.errors import ConfigError
from configs.options import Kind, Part


class TrackerOptions(Part):
    """A tracker. Its package is installed by who wants it."""

    package: ClassVar[str]
    "What to install, and to import."
    id_of: ClassVar[str]
    "Where the tracker's run keeps its name: attributes of `GeneralTracker.tracker`."

    goes_on_by: ClassVar[dict[str, str]]
    "Arguments that go on with that run instead of starting one; {id} stands for its name."

    project: str = Field(default="polytrain", min_length=1)
    "The project or experiment that the run belongs to."
    options: dict[str, Any] = Field(default_factory=dict)
    "What else the tracker's start takes, such as wandb.init(entity=..., tags=...)."

    def run_id(self, run: object) -> str:
        """The name under which this run can be gone on with."""
        return str(operator.attrgetter(self.id_of)(run))

    def going_on(self, run_id: str) -> dict[str, Any]:
        """Arguments that go on with a run instead of starting one."""
        return {key: value.format(id=run_id) for key, value in self.goes_on_by.items()}


class WandbOptions(TrackerOptions):
    """Weights & Biases. Rows that a resumed run repeats are dropped there: wandb takes no step twice."""

    kind: Literal["wandb"] = "wandb"
    package: ClassVar[str] = "wandb"
    id_of: ClassVar[str] = "id"
    goes_on_by: ClassVar[dict[str, str]] = {"id": "{id}", "resume": "must"}


class MLflowOptions(TrackerOptions):
    """MLflow. Rows that a resumed run repeats are there twice: MLflow keeps every value of a step."""

    kind: Literal["mlflow"] = "mlflow"
    package: ClassVar[str] = "mlflow"
    id_of: ClassVar[str] = "info.run_id"
    goes_on_by: ClassVar[dict[str, str]] = {"run_id": "{id}"}


class CometOptions(TrackerOptions):
    """Comet."""

    kind: Literal["comet_ml"] = "comet_ml"
    package: ClassVar[str] = "comet_ml"
    id_of: ClassVar[str] = "id"
    goes_on_by: ClassVar[dict[str, str]] = {"experiment_key": "{id}", "mode": "get"}


class AimOptions(TrackerOptions):
    """Aim, in a repository inside the run folder."""

    kind: Literal["aim"] = "aim"
    package: ClassVar[str] = "aim"
    id_of: ClassVar[str] = "hash"
    goes_on_by: ClassVar[dict[str, str]] = {"run_hash": "{id}"}


class TrackioOptions(TrackerOptions):
    """Trackio."""

    kind: Literal["trackio"] = "trackio"
    package: ClassVar[str] = "trackio"
    id_of: ClassVar[str] = "name"
    goes_on_by: ClassVar[dict[str, str]] = {"name": "{id}", "resume": "must"}


class ClearMLOptions(TrackerOptions):
    """ClearML."""

    kind: Literal["clearml"] = "clearml"
    package: ClassVar[str] = "clearml"
    id_of: ClassVar[str] = "id"
    goes_on_by: ClassVar[dict[str, str]] = {"continue_last_task": "{id}"}


AnyTracker = Annotated[
    WandbOptions | MLflowOptions | CometOptions | AimOptions | TrackioOptions | ClearMLOptions, Kind()
]


def require_packages(trackers: Sequence[TrackerOptions]) -> None:
    """Check that the trackers' packages are installed.

    Raises:
        ConfigError: naming the one that is not.
    """
    for options in trackers:
        if importlib.util.find_spec(options.package) is None:
            raise ConfigError(
                f"log.trackers: {options.kind} needs the package {options.package}, which is not installed: "
                f"pip install {options.package}, or take {options.kind} out of log.trackers."
            )

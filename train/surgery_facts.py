"""What the edits of a recipe would do to its model, for `polytrain check`: how many, and which names."""

from __future__ import annotations

from pathlib import Path

from model.selectors import summarised
from train.recipe import Recipe
from train.run_folder import RunFolder


def surgery_facts(recipe: Recipe) -> dict[str, str]:
    """By key of the edit; empty for a recipe without any.

    Raises:
        UserError: when an edit cannot be made: a pattern that matches nothing, weights that are missing or do not fit.
    """
    if not recipe.surgery:
        return {}
    import torch

    from train.objectives.objective import build_objective

    with torch.device("meta"):
        objective = build_objective(recipe.objective, recipe.model, recipe.surgery)
    resumes = RunFolder(Path(recipe.run)).checkpoints.is_dir()
    facts = {}
    for edit, options in zip(objective.surgery.edits, recipe.surgery, strict=True):
        # A run that has a checkpoint never asks for what it was started from, which may be gone.
        report = None if resumes else edit.report()
        loads = [] if report is None else report.splitlines()
        names = [f"{len(edit.selected)}: {summarised(edit.selected)}"] if edit.selected else []
        facts[f"{edit.where} {options.kind}"] = "; ".join(names + [line.strip() for line in loads]) or (
            "nothing: the run has a checkpoint" if resumes else "the whole model"
        )
    objective.surgery.close()
    frozen = [name for name, item in objective.named_parameters() if not item.requires_grad]
    return facts | {"frozen in the end": f"{len(frozen)}: {summarised(frozen)}" if frozen else "nothing"}

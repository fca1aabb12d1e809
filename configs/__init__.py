"""Recipes, and the small code that reads and validates them.

Belongs here: YAML recipes and fragments (`*.yaml`, `engine/`, `text/`, ...), and what every other
room needs to describe itself: the options base class, part selection by `kind:`, merging,
overrides, schema export, the error classes shown to users, and how files are replaced.

Does not belong here: the options of any particular part (they live beside the part), anything
that imports torch, and anything that imports `data`, `model`, `train` or `launch`.

    configs.errors     errors that a user can cause, printed without a traceback
    configs.files      replacing a file as a whole
    configs.options    `Options`, `Part` and `Kind`: validated, immutable descriptions
    configs.recipe     YAML + bases + overrides -> one resolved tree
    configs.schema     JSON schema of any options class, for editors
    configs.seeds      the seed of each use of randomness, from the recipe's one seed
"""

__all__ = ["errors", "files", "options", "recipe", "schema", "seeds"]

"""JSON schema of an options class: completion and checking of recipes in editors.

    polytrain schema > configs/recipe.schema.json

A recipe whose first line is `# yaml-language-server: $schema=recipe.schema.json` is then completed
and checked by any editor that speaks YAML.
"""

from __future__ import annotations

import json

from configs.options import Options


def json_schema(options_class: type[Options]) -> str:
    """The JSON schema text of `options_class`, with the key `base` that only files have."""
    schema = options_class.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"]["base"] = {
        "description": "Recipes or fragments to merge below this one, relative to this file.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    }
    # With bases, no single file has to be complete.
    _drop_required(schema)
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def _drop_required(node: object) -> None:
    if isinstance(node, dict):
        if isinstance(node.get("required"), list):
            del node["required"]
        node = list(node.values())
    for item in node if isinstance(node, list) else []:
        _drop_required(item)

"""What is done to a model between its construction and its first step: the list `surgery:` of a recipe.

An edit may change the module (adapters, prompts, what is trained) and the initial values of its parameters
(weights from a file, zeros). Values are asked for by name, tensor by tensor, so an edit never holds a whole model.

    model.surgery.options    options of every edit, free of torch
    model.surgery.edit       the interface, and a list of edits in order
    model.surgery.load       initial values from files or a run; what was loaded and what was not
    model.surgery.resize     tensors of another vocabulary or length
    model.surgery.zero_init  parameters that start at zero
    model.surgery.freeze     what is trained
    model.surgery.lora       low-rank adapters
    model.surgery.prompts    soft prompts
    model.surgery.weights    named tensors in safetensors files
"""

__all__ = ["edit", "freeze", "load", "lora", "options", "prompts", "resize", "weights", "zero_init"]

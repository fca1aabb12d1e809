"""What is learned. An objective is one `nn.Module` that owns the model: Batch -> sums.

train.objectives.options     options of every objective, free of torch
train.objectives.objective   the interface
train.objectives.causal_lm   predict the next token
train.objectives.pfn         predict the classes of a table's queried rows
"""

__all__ = ["causal_lm", "objective", "options", "pfn"]

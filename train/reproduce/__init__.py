"""Claims of published systems, measured again: arms trained on several seeds, figures compared.

What a paper says here is a file of `configs/papers/`; nothing in this package knows any of them.

train.reproduce.paper    what such a file says
train.reproduce.runs     its runs: recipes, training what is missing, figures
train.reproduce.verdict  whether a comparison holds
"""

__all__ = ["paper", "runs", "verdict"]

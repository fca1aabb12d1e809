"""Synthetic generators: sources that compute a sample where others read one.

Belongs here: one file for each family of tasks, and what they share. A sample is a pure function of
the options and the index, so any of them can be trained on, probed with or cut among ranks like
shards. Numpy only.

Does not belong here: what a sample means to a model (embedding, losses, which rows are queries).

    data.priors.options            options of every prior, free of the generators
    data.priors.prior              `Prior`: length, index and fingerprint; where randomness comes from
    data.priors.arithmetic         sums in a fixed order, a squashing function without libm, ranks
    data.priors.tables             what table generators share: classes, categories, missing cells
    data.priors.linear_regression  noisy linear functions from a pool of tasks; the Bayes estimators
    data.priors.structural_causal  tables from random causal networks
    data.priors.forest             tables from decision trees fitted to noise
    data.priors.bandits            logged multi-armed bandits and their best arms
    data.priors.strings            copying, recall by key and addition, as packed tokens

Shape suffixes, everywhere in this room:

    R rows   C columns   D dimensions of x   K points   M tasks or nodes   N rows a tree is fitted to
    A arms   H pulls (horizon)   L tokens
"""

__all__ = [
    "arithmetic",
    "bandits",
    "forest",
    "linear_regression",
    "options",
    "prior",
    "strings",
    "structural_causal",
    "tables",
]

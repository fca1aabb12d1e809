"""Measurements that are not the loss being trained: taken before, while and after training.

train.probes.options   options of every probe, free of torch
train.probes.probe     the interface
train.probes.loss      the objective on held-out samples
train.probes.sample    text generated from a prompt
train.probes.tables    classification of small real tables, beside scikit-learn
"""

__all__ = ["loss", "options", "probe", "sample", "tables"]

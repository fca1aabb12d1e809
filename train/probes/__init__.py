"""Measurements that are not the loss being trained: taken before, while and after training.

train.probes.options   options of every probe, free of torch
train.probes.probe     the interface
train.probes.loss      the objective on held-out samples
train.probes.contrastive   masked frames of audio among distractors, use of codebooks
train.probes.sample    text generated from a prompt
"""

__all__ = ["contrastive", "loss", "options", "probe", "sample"]

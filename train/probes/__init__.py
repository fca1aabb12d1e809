"""Measurements that are not the loss being trained: taken before, while and after training.

train.probes.options       options of every probe, free of torch
train.probes.probe         the interface
train.probes.held_out      walking over samples with all ranks
train.probes.loss          the objective on held-out samples
train.probes.bits_per_byte bits of held-out text per byte
train.probes.sample        text generated from a prompt
train.probes.linear_probe  a linear classifier on frozen features
train.probes.contrastive   masked frames of audio among distractors, use of codebooks
train.probes.tables        classification of small real tables, beside scikit-learn
"""

__all__ = ["bits_per_byte", "contrastive", "held_out", "linear_probe", "loss", "options", "probe", "sample", "tables"]

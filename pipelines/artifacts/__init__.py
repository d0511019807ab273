"""Files between stages: the run folder, manifests, checkpoints, and other programs' formats."""

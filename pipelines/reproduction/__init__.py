"""What `nformer reproduce` runs: the paper's tables and figures, made again from a run."""

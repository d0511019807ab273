"""What `nformer benchmark NAME` runs: a workload, a named reference beside it, a table."""

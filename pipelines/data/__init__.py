"""dataset -> images -> batches."""

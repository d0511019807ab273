"""dataset -> images -> batches: a reader for each layout."""

"""Who comes first: evaluation protocols, metrics and re-ranking. Arrays only."""

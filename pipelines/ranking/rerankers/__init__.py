"""Re-rankings: distances other than the cosine of two embeddings, by name."""

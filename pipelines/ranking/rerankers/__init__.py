"""Re-ranking methods by name: distances other than the cosine of two embeddings."""

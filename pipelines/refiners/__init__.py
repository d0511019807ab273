"""Embeddings in, embeddings out, nothing learned by gradient. Arrays only."""

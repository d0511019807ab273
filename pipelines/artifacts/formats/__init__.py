"""Embeddings in other programs' files: one reader a format, and their writers."""

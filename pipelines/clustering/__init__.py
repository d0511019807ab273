"""Embeddings without labels -> identities: rows of one identity get one number."""

"""Other programs' formats for embeddings: a reader for each, and writers."""

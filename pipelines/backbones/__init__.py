"""Images in, embeddings out: the networks, their checkpoints and what they expect of an image."""

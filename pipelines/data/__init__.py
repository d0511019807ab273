"""Data sets: a reader for each layout, and batches of their images."""

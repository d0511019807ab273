"""Evaluation protocols, metrics and re-ranking. Arrays only."""

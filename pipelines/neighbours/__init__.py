"""Nearest neighbours, exact and approximate, and the neighbour graph. Arrays only."""

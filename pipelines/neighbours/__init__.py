"""Who is near whom: exact and approximate nearest neighbours, the neighbour graph. Arrays only."""

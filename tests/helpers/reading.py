"""A query's sum with what it reads, as the closed form makes it at one layer."""

from pipelines.refiners.mutual_neighbours import query_edges, read, sharpened


def read_queries(query, camids, rows, graph, *, sharpness):
    """Return each query's sum with what it reads, [Q, d]."""
    listed = query_edges(query, camids, rows=rows, graph=graph)
    weights = sharpened(query, rows, listed=listed, sharpness=sharpness)
    return read(query, rows, lists=listed[0], weights=weights)

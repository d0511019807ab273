"""A query's sum with what it reads, as the closed form makes it at one layer."""

from pipelines.refiners.mutual_neighbours import query_edges, read_listed


def read_queries(query, camids, rows, graph, *, sharpness):
    """Return each query's sum with what it reads, [Q, d]."""
    listed = query_edges(query, camids, rows=rows, graph=graph)
    return read_listed(query, rows, listed=listed, sharpness=sharpness)

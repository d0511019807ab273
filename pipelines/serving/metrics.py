"""What the server counts, as Prometheus reads it."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from .live import Live

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one server: each has a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        by_route = ["method", "route"]
        self.requests = Counter(
            "nformer_requests", "Requests answered.", [*by_route, "status"], registry=registry
        )
        self.seconds = Histogram(
            *("nformer_request_seconds", "Seconds from a request to its answer.", by_route),
            buckets=SECONDS,
            registry=registry,
        )
        self.batch = Histogram(
            *("nformer_batch_queries", "Queries that were answered together."),
            buckets=SIZES,
            registry=registry,
        )
        self.taken = Gauge(
            "nformer_requests_taken", "Requests being answered or waiting.", registry=registry
        )
        self.items = Gauge("nformer_index_items", "Items in the index.", registry=registry)
        self.reloads = Gauge(
            "nformer_index_reloads", "Times that the index was replaced.", registry=registry
        )
        self.stale = Gauge(
            *("nformer_index_stale", "1 where the index's file changed and cannot be opened."),
            registry=registry,
        )

    def text(self, live: Live) -> bytes:
        """Return all of it in Prometheus' text format."""
        self.items.set(len(live.current.camids))
        self.reloads.set(live.reloads)
        self.stale.set(bool(live.problem))
        return generate_latest(self.registry)

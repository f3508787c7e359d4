"""What Prometheus is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from perdure.service.registry import Registry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STATES = ("loading", "ready", "read-only")


class Metrics:
    """Counters of requests, and gauges of models read when they are shown."""

    def __init__(self, models: Registry):
        """Count nothing yet."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "perdure_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "perdure_request_seconds", "From request to answer.", ["route"], buckets=_SECONDS, registry=self._registry
        )
        self.examples = Counter("perdure_examples", "Examples acknowledged.", ["model"], registry=self._registry)
        self.answers = Counter("perdure_predictions", "Rows answered.", ["model"], registry=self._registry)
        self._registry.register(_Models(models))

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def forget(self, model: str) -> None:
        """Leave out a model that was deleted."""
        for counter in (self.examples, self.answers):
            counter.remove_by_labels({"model": model})

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)


class _Models(Collector):
    """Gauges of the models."""

    def __init__(self, models: Registry):
        self._models = models

    def collect(self) -> Iterator[Any]:
        """Yield the gauges."""
        state = GaugeMetricFamily("perdure_model_state", "1 for the state the model is in.", labels=["model", "state"])
        position = GaugeMetricFamily("perdure_model_position", "Of the last example.", labels=["model"])
        examples = GaugeMetricFamily("perdure_model_examples", "Without those forgotten.", labels=["model"])
        queue = GaugeMetricFamily("perdure_model_queue", "Requests that wait to be learned.", labels=["model"])
        recent = GaugeMetricFamily(
            "perdure_model_recent",
            "Accuracy of the last 500 examples; for numbers, mean absolute error.",
            labels=["model"],
        )
        for model in self._models:
            for name in _STATES:
                state.add_metric([model.name, name], float(model.state == name))
            examples.add_metric([model.name], model.n_examples)
            queue.add_metric([model.name], model.depth)
            if model.view is not None:
                position.add_metric([model.name], model.view.position)
            if (value := model.scores.get("recent")) is not None:
                recent.add_metric([model.name], value)
        yield from (state, position, examples, queue, recent)

"""
The figures of a running node for Prometheus, where ``--metrics`` asks for them.

This needs prometheus-client, which comes with the extra ``offset-node[metrics]``. Threads of that library serve the
figures, so that a scrape never holds up the node.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from offset_node.engine import NodeCounts
from offset_node.plugins.host import PluginHost
from offset_proto.errors import OffsetError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

__all__ = ["MetricsUnavailable", "NodeCounts", "serve_metrics"]


class MetricsUnavailable(OffsetError):
    """prometheus-client is not installed, or the address can not be listened on."""


class _Collector:
    def __init__(self, counts: NodeCounts, plugins: PluginHost, backup_age: Callable[[], int | None]) -> None:
        self._counts = counts
        self._plugins = plugins
        self._backup_age = backup_age

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counts = self._counts
        backup_age = self._backup_age()
        for name, text, value in (
            ("offset_events", "Events handled", counts.events),
            ("offset_refused_events", "Events of apps and friends that were refused", counts.refused_events),
            ("offset_batches", "Batches stored, each with one disk sync", counts.batches),
            ("offset_mutations", "Mutations stored", counts.mutations),
            ("offset_invoices_paid", "Invoices collected", counts.occurrences["InvoicePaid"]),
            ("offset_payments_finished", "Payments of ours that ended", counts.occurrences["PaymentFinished"]),
            ("offset_requests_forwarded", "Requests forwarded", counts.occurrences["RequestForwarded"]),
        ):
            yield CounterMetricFamily(name, text, value=value)
        gauges: tuple[tuple[str, str, float], ...] = (
            ("offset_apps", "Apps connected", counts.apps),
            ("offset_friends_online", "Friends with a link", counts.friends_online),
            ("offset_friends_overdue", "Friends that do not return the token when asked", counts.friends_overdue),
            (
                "offset_friends_unheard",
                "Friends to whom nothing is said before they speak, as after a restore",
                counts.friends_unheard,
            ),
            (
                "offset_long_pending",
                "Requests whose credits have been frozen for more than an hour",
                counts.long_pending,
            ),
            ("offset_inbox_events", "Events that wait", counts.inbox),
            (
                "offset_backup_age_seconds",
                "Seconds since the last backup of the database; +Inf where there is none",
                math.inf if backup_age is None else backup_age,
            ),
        )
        for name, text, figure in gauges:
            yield GaugeMetricFamily(name, text, value=figure)
        yield from self._collect_plugins()

    def _collect_plugins(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        waiting = GaugeMetricFamily("offset_plugin_calls_waiting", "Calls of hooks that wait", labels=["plugin"])
        failures = CounterMetricFamily("offset_plugin_failures", "Calls of hooks that failed", labels=["plugin"])
        dropped = CounterMetricFamily("offset_plugin_dropped", "Observations not told", labels=["plugin"])
        refusals = CounterMetricFamily("offset_plugin_refusals", "Requests refused", labels=["plugin"])
        for name, (calls, failed, lost) in self._plugins.states().items():
            waiting.add_metric([name], calls)
            failures.add_metric([name], failed)
            dropped.add_metric([name], lost)
            refusals.add_metric([name], self._plugins.refusals[name])
        yield from (waiting, failures, dropped, refusals)


@contextmanager
def serve_metrics(
    address: tuple[str, int], counts: NodeCounts, plugins: PluginHost, backup_age: Callable[[], int | None]
) -> "Iterator[CollectorRegistry]":
    """
    Serve the figures of a node over HTTP for the length of a ``with`` block.

    Args:
        address: To listen on.
        counts: Of the node.
        plugins: Of the node.
        backup_age: Seconds since the last backup of the database, None for never; called from another thread.

    Raises:
        MetricsUnavailable: No prometheus-client, or the address can not be listened on.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError:
        raise MetricsUnavailable("--metrics needs prometheus-client: pip install 'offset-node[metrics]'") from None
    registry = CollectorRegistry()
    registry.register(_Collector(counts, plugins, backup_age))
    plugins.register_metrics(registry)
    host, port = address
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise MetricsUnavailable(f"ListenError({host}:{port}: {error.strerror or error})") from None
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

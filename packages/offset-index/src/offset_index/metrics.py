"""The figures of an index server for Prometheus, besides those of its links."""

from typing import Final

from offset_crypto.link_counts import LINK_MEASURES
from offset_crypto.measures import Measure, counter, gauge, histogram
from offset_crypto.status_pages import Status
from offset_index.server import UpdateEnd
from offset_index.service import IndexService

__all__ = ["INDEX_MEASURES", "show_index"]

INDEX_MEASURES: Final[tuple[Measure[IndexService], ...]] = (
    gauge("offset_index_clients", "Nodes that are connected", lambda index: index.clients),
    gauge(
        "offset_index_neighbours",
        "Trusted index servers, by whether they are connected",
        lambda index: index.neighbours,
        "state",
        ("connected", "missing"),
    ),
    gauge(
        "offset_index_nodes",
        "Nodes that were heard of in the last minute, through this server or another one",
        lambda index: index.engine.nodes,
    ),
    gauge("offset_index_declarations", "Declarations of nodes", lambda index: index.engine.declarations),
    counter(
        "offset_index_declarations_refused_total",
        "Declarations that found no room, since their node or all nodes have too many",
        lambda index: index.engine.declarations_refused,
    ),
    counter(
        "offset_index_updates_total",
        "Updates of nodes: accepted, or at which check they were dropped",
        lambda index: {str(end): count for end, count in index.engine.updates.items()},
        "end",
        tuple(map(str, UpdateEnd)),
    ),
    histogram(
        "offset_index_route_search_seconds", "Time that a search for routes took", lambda index: index.counts.searches
    ),
    counter(
        "offset_index_fruitless_searches_total", "Searches that found no route", lambda index: index.counts.fruitless
    ),
    gauge(
        "offset_index_requests_waiting", "Requests for routes that wait for their turn", lambda index: index.requests
    ),
    counter(
        "offset_index_client_pauses_total",
        "Times that a node had asked or declared too much, and was not read from for a while",
        lambda index: index.counts.pauses,
    ),
    counter(
        "offset_index_oversized_messages_total",
        "Messages that were ignored since they exceed a limit",
        lambda index: index.counts.oversized,
    ),
)


def show_index(index: IndexService) -> Status:
    """What the pages of *index* show. It is ready while it listens and all servers that it trusts are connected."""
    status = Status("offset-index", "it does not listen yet")
    status.show(LINK_MEASURES, index.links)
    status.show(INDEX_MEASURES, index)
    status.missing = index.missing
    return status

"""
The figures of a node for Prometheus, besides those of its links.

Friends and what is pending with them are counted when somebody asks, which takes a millisecond for a thousand friends;
a text of the pages is made a few times a second at most. Frozen credits are told as a number of requests: credits of
different currencies have no sum, and a series for each currency would have no limit.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from offset_crypto.link_counts import LINK_MEASURES
from offset_crypto.measures import Measure, counter, gauge, histogram
from offset_crypto.status_pages import MetricsUnavailable, Status
from offset_funder.state import Consistent, Friend, Inconsistent
from offset_node.counts import NodeCounts
from offset_node.node import Node
from offset_node.plugins.host import PluginHost

__all__ = ["NODE_MEASURES", "MetricsUnavailable", "NodeCounts", "Watched", "show_node"]

_FRIEND_STATES: Final = ("disabled", "inconsistent", "offline", "online")


@dataclass(frozen=True)
class Watched:
    """
    A node and what belongs to it.

    Attributes:
        node: The node.
        plugins: Of the node.
        backup_age: Seconds since the last backup of the database, None for never; none of it where the database is on
            a server.
    """

    node: Node
    plugins: PluginHost
    backup_age: Callable[[], int | None] | None

    @property
    def counts(self) -> NodeCounts:
        """What the node counts."""
        return self.node.counts

    def friends(self) -> dict[str, float]:
        """How many friends are in which state."""
        online = self.node.engine.online
        friends = self.node.engine.funder_state.friends
        found = Counter(_state_of(friend, is_online=key in online) for key, friend in friends.items())
        return {state: found[state] for state in _FRIEND_STATES}

    def pending(self) -> dict[str, float]:
        """How many requests have credits frozen, by who sent them."""
        ours, theirs = 0, 0
        for friend in self.node.engine.funder_state.friends.values():
            if isinstance(friend.channel, Consistent):
                for ledger in friend.channel.token_channel.ledgers.values():
                    ours += len(ledger.pending_local)
                    theirs += len(ledger.pending_remote)
        return {"sent": ours, "received": theirs}

    def operations(self) -> int:
        """How many operations wait for a token."""
        channels = [friend.channel for friend in self.node.engine.funder_state.friends.values()]
        return sum(
            len(channel.pending_requests) + len(channel.pending_backwards_ops) + len(channel.pending_user_requests)
            for channel in channels
            if isinstance(channel, Consistent)
        )

    def relays(self) -> dict[str, float]:
        """At how many relays the node listens, and at how many it wants to and does not."""
        links = self.node.links
        return {"connected": len(links.relays_connected), "missing": len(links.relays_missing)}

    def payments(self) -> dict[str, float]:
        """How many payments of this node have come to which end."""
        finished = self.counts.occurrences["PaymentFinished"]
        return {"paid": self.counts.payments_paid, "cancelled": finished - self.counts.payments_paid}

    def of_plugins(self, figure: int) -> dict[str, float]:
        """One of the figures that the host has of each plugin."""
        return {name: figures[figure] for name, figures in self.plugins.states().items()}

    def refusals(self) -> dict[str, float]:
        """How many requests each plugin refused."""
        return {name: self.plugins.refusals[name] for name in self.plugins.states()}

    def age(self) -> float:
        """
        Seconds since the last backup; infinite where there is none, so that an alarm for old backups rings.

        No number where the database is on a server, which has backups of its own: no alarm rings.
        """
        if self.backup_age is None:
            return math.nan
        age = self.backup_age()
        return math.inf if age is None else age


def _state_of(friend: Friend, *, is_online: bool) -> str:
    if not friend.is_enabled:
        return "disabled"
    if isinstance(friend.channel, Inconsistent):
        return "inconsistent"
    return "online" if is_online else "offline"


NODE_MEASURES: Final[tuple[Measure[Watched], ...]] = (
    # Payments.
    counter(
        "offset_payments_finished_total",
        "Payments of this node that have ended, by how",
        Watched.payments,
        "end",
        ("paid", "cancelled"),
    ),
    counter(
        "offset_invoices_paid_total", "Invoices collected", lambda watched: watched.counts.occurrences["InvoicePaid"]
    ),
    counter(
        "offset_requests_forwarded_total",
        "Requests of friends that were handed on to the next friend",
        lambda watched: watched.counts.occurrences["RequestForwarded"],
    ),
    counter(
        "offset_requests_cancelled_total",
        "Requests of friends that this node sent back, or whose cancellation it passed on",
        lambda watched: watched.counts.requests_cancelled,
    ),
    histogram(
        "offset_payment_seconds",
        "Time from an app's request for a payment to its receipt; payments that were cancelled are left out",
        lambda watched: watched.node.clock.paid,
    ),
    gauge(
        "offset_requests_pending",
        "Requests whose credits are frozen, by whether this node sent them to a friend or received them from one",
        Watched.pending,
        "side",
        ("sent", "received"),
    ),
    gauge(
        "offset_long_pending",
        "Requests whose credits have been frozen for more than an hour",
        lambda watched: watched.counts.long_pending,
    ),
    gauge("offset_operations_waiting", "Operations that wait for the token of a friend", Watched.operations),
    # Friends and servers.
    gauge("offset_friends", "Friends by state", Watched.friends, "state", _FRIEND_STATES),
    gauge("offset_friends_online", "Friends with a link", lambda watched: watched.counts.friends_online),
    gauge(
        "offset_friends_overdue",
        "Friends that do not return the token when asked",
        lambda watched: watched.counts.friends_overdue,
    ),
    gauge(
        "offset_friends_unheard",
        "Friends to whom nothing is said before they speak, as after a restore",
        lambda watched: watched.counts.friends_unheard,
    ),
    histogram(
        "offset_tunnel_setup_seconds",
        "Time from connecting to a relay to the proof of the friend's key",
        lambda watched: watched.node.links.counts.setups,
    ),
    counter(
        "offset_tunnels_failed_total",
        "Attempts to reach a friend, or of a friend to reach this node, that led to nothing",
        lambda watched: watched.node.links.counts.failed,
    ),
    gauge(
        "offset_relays",
        "Relays to listen at, by whether the node does",
        Watched.relays,
        "state",
        ("connected", "missing"),
    ),
    gauge(
        "offset_index_connected",
        "1 where an index server can be told and asked, 0 otherwise",
        lambda watched: watched.node.index.client.is_connected,
    ),
    histogram(
        "offset_route_search_seconds",
        "Time from asking the index server for routes to its answer",
        lambda watched: watched.node.index.searches,
    ),
    # The node itself.
    gauge("offset_apps", "Apps connected", lambda watched: watched.counts.apps),
    counter("offset_events_total", "Events handled", lambda watched: watched.counts.events),
    counter(
        "offset_refused_events_total",
        "Events of apps and friends that were refused",
        lambda watched: watched.counts.refused_events,
    ),
    gauge("offset_inbox_events", "Events that wait", lambda watched: watched.counts.inbox),
    counter(
        "offset_inbox_pauses_total",
        "Times that the inbox was full, and an app or friend was not read from for a while",
        lambda watched: watched.counts.inbox_pauses,
    ),
    counter("offset_batches_total", "Batches stored, each with one disk sync", lambda watched: watched.counts.batches),
    counter("offset_mutations_total", "Mutations stored", lambda watched: watched.counts.mutations),
    histogram(
        "offset_commit_seconds",
        "Time until a batch was durable; nothing of it is sent before",
        lambda watched: watched.counts.commits,
    ),
    gauge(
        "offset_backup_age_seconds",
        "Seconds since the last backup of the database; +Inf where there is none, NaN where it is on a server",
        Watched.age,
    ),
    # Plugins.
    gauge("offset_plugin_calls_waiting", "Calls of hooks that wait", lambda watched: watched.of_plugins(0), "plugin"),
    counter(
        "offset_plugin_failures_total", "Calls of hooks that failed", lambda watched: watched.of_plugins(1), "plugin"
    ),
    counter("offset_plugin_dropped_total", "Observations not told", lambda watched: watched.of_plugins(2), "plugin"),
    counter("offset_plugin_refusals_total", "Requests refused", Watched.refusals, "plugin"),
)


def show_node(status: Status, node: Node, plugins: PluginHost, backup_age: Callable[[], int | None] | None) -> None:
    """
    Let the pages show a node.

    It is ready while it listens at all relays that it wants to, and an index server can be asked, where it has any.

    Args:
        status: Of the program.
        node: The node.
        plugins: Of the node.
        backup_age: Seconds since the last backup of the database, None for never; reads a small file. None of it where
            the database is on a server.
    """
    status.show(LINK_MEASURES, node.ticker.links)
    status.show(NODE_MEASURES, Watched(node, plugins, backup_age))
    status.missing = node.missing

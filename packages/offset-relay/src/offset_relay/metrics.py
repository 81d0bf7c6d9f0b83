"""The figures of a relay for Prometheus, besides those of its links."""

from typing import Final

from offset_crypto.link_counts import LINK_MEASURES
from offset_crypto.measures import Measure, counter, gauge, histogram
from offset_crypto.status_pages import Status
from offset_relay.server import Refusal
from offset_relay.service import RelayService

__all__ = ["RELAY_MEASURES", "show_relay"]

RELAY_MEASURES: Final[tuple[Measure[RelayService], ...]] = (
    gauge("offset_relay_listeners", "Nodes that listen", lambda relay: relay.engine.listeners),
    gauge(
        "offset_relay_half_tunnels",
        "Connectors that wait until their listener accepts",
        lambda relay: relay.engine.half_tunnels,
    ),
    gauge("offset_relay_tunnels", "Tunnels that are open", lambda relay: relay.tunnels),
    counter("offset_relay_tunnels_opened_total", "Tunnels that came about", lambda relay: relay.counts.tunnels_opened),
    histogram(
        "offset_relay_tunnel_setup_seconds",
        "Time from the link of a connector to its tunnel",
        lambda relay: relay.counts.setups,
    ),
    counter(
        "offset_relay_links_refused_total",
        "Links that the relay closed before they were a part of a tunnel, by the reason",
        lambda relay: {str(why): count for why, count in relay.engine.refused.items()},
        "reason",
        tuple(map(str, Refusal)),
    ),
    counter(
        "offset_relay_forwarded_messages_total",
        "Messages passed on through tunnels, in both directions",
        lambda relay: relay.counts.forwarded_messages,
    ),
    counter(
        "offset_relay_forwarded_bytes_total",
        "Bytes of these messages",
        lambda relay: relay.counts.forwarded_bytes,
    ),
)


def show_relay(relay: RelayService) -> Status:
    """What the pages of *relay* show. A relay is ready while it listens and is not about to end."""
    status = Status("offset-relay", "it does not listen yet")
    status.show(LINK_MEASURES, relay.links)
    status.show(RELAY_MEASURES, relay)
    status.missing = relay.missing
    return status

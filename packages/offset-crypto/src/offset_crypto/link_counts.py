"""
What all links of a process have done, and how punctual its loop is; the metrics that all servers share. Pure.

`offset_crypto.aio` counts. Bytes and frames are those on sockets; what is said inside a tunnel is a part of them.
"""

from dataclasses import dataclass, field
from typing import Final

from offset_crypto.measures import Distribution, Measure, counter, gauge, histogram

__all__ = ["LINK_MEASURES", "LinkCounts"]


@dataclass
class LinkCounts:
    """
    What the links of a process have done; written by the thread of the loop alone.

    Attributes:
        accepted, dialed: Connections that came about, from others and to others.
        closed: Of both.
        handshakes_running, handshakes_waiting: Of connections from others, at the moment.
        handshakes_failed: Of both sides.
        sent_bytes, received_bytes, sent_frames, received_frames: On sockets.
        unread: Links that were closed since the peer did not read what we sent.
        lateness: Seconds by which ticks were late.
    """

    accepted: int = 0
    dialed: int = 0
    closed: int = 0
    handshakes_running: int = 0
    handshakes_waiting: int = 0
    handshakes_failed: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    sent_frames: int = 0
    received_frames: int = 0
    unread: int = 0
    lateness: Distribution = field(default_factory=Distribution)


LINK_MEASURES: Final[tuple[Measure[LinkCounts], ...]] = (
    gauge(
        "offset_link_connections",
        "Connections that are open, with those that are still at the handshake",
        lambda links: links.accepted + links.dialed - links.closed,
    ),
    counter(
        "offset_link_connections_opened_total",
        "Connections that came about, by who opened them",
        lambda links: {"peer": links.accepted, "self": links.dialed},
        "opener",
        ("peer", "self"),
    ),
    gauge(
        "offset_link_handshakes",
        "Handshakes of connections from others that are under way, and those that wait since too many are",
        lambda links: {"running": links.handshakes_running, "waiting": links.handshakes_waiting},
        "state",
        ("running", "waiting"),
    ),
    counter(
        "offset_link_handshakes_failed_total",
        "Connections that ended before both sides had proved their keys",
        lambda links: links.handshakes_failed,
    ),
    counter("offset_link_sent_bytes_total", "Bytes written to sockets", lambda links: links.sent_bytes),
    counter("offset_link_received_bytes_total", "Bytes read from sockets", lambda links: links.received_bytes),
    counter(
        "offset_link_sent_frames_total",
        "Frames written to sockets, with those of handshakes and signs of life",
        lambda links: links.sent_frames,
    ),
    counter(
        "offset_link_received_frames_total",
        "Frames read from sockets, with those of handshakes and signs of life",
        lambda links: links.received_frames,
    ),
    counter(
        "offset_link_unread_total",
        "Links that were closed since the peer did not read what was sent to it",
        lambda links: links.unread,
    ),
    histogram(
        "offset_loop_lag_seconds",
        "By how much the ticks of a second were late, since the process had no time for them",
        lambda links: links.lateness,
    ),
)

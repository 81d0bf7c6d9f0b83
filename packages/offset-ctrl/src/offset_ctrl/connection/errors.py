"""What can go wrong between an app and its node."""

from offset_proto.errors import OffsetError

__all__ = ["ConnectionClosed", "NodeConnectionError", "RoutesUnavailable"]


class NodeConnectionError(OffsetError):
    """The node can not be reached, or does not trust this app."""


class ConnectionClosed(OffsetError):
    """The node closed the connection, or did not answer in time."""


class RoutesUnavailable(OffsetError):
    """The node could not ask an index server."""

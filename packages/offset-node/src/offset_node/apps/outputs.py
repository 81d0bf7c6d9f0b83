"""
What the app server says: things to do on connections of apps, and what concerns other parts of the node. Pure.

`offset_node.apps.server` says when.
"""

from dataclasses import dataclass

from offset_funder.events import AppRequested
from offset_node.state import HistoryScope
from offset_proto.messages.app import AddIndexServer, AppServerToApp, RemoveIndexServer
from offset_proto.messages.extensions import FollowInvoices, FollowPayments, FollowUnheard
from offset_proto.messages.history import FollowHistory, NoteRequest, ReadHistory
from offset_proto.messages.index import IndexMutation, RequestRoutes
from offset_proto.types import Uid

__all__ = [
    "AppEffect",
    "AppId",
    "AppServerOutput",
    "AskIndexClient",
    "ChangeIndexServers",
    "CloseApp",
    "DeclareCapacities",
    "Follow",
    "KeepNote",
    "ReadPage",
    "SendToApp",
    "TellFunder",
]

AppId = int


@dataclass(frozen=True, slots=True)
class SendToApp:
    """Send a message to one app."""

    app_id: AppId
    message: AppServerToApp


@dataclass(frozen=True, slots=True)
class CloseApp:
    """End the connection of an app: it asked for what it may not do, or its ticket has changed."""

    app_id: AppId
    reason: str


@dataclass(frozen=True, slots=True)
class TellFunder:
    """An app asks for something that the funder decides."""

    event: AppRequested


@dataclass(frozen=True, slots=True)
class ChangeIndexServers:
    """An app asks to add or to remove an index server."""

    app_request_id: Uid
    request: AddIndexServer | RemoveIndexServer


@dataclass(frozen=True, slots=True)
class AskIndexClient:
    """A request for routes; its acknowledgement has been sent before."""

    request: RequestRoutes


@dataclass(frozen=True, slots=True)
class DeclareCapacities:
    """What the node declares to index servers has changed."""

    mutations: tuple[IndexMutation, ...]


@dataclass(frozen=True, slots=True)
class Follow:
    """An app asks for what is open, how far the history goes, or who has to speak first; and for each change."""

    app_id: AppId
    app_request_id: Uid
    request: FollowPayments | FollowInvoices | FollowHistory | FollowUnheard


@dataclass(frozen=True, slots=True)
class KeepNote:
    """An app asks to keep a note, which has been checked."""

    app_request_id: Uid
    request: NoteRequest


@dataclass(frozen=True, slots=True)
class ReadPage:
    """Read a page of the history for an app that sees *scope* of it; it comes back to `AppServer.page_read`."""

    app_id: AppId
    request: ReadHistory
    scope: HistoryScope


AppEffect = SendToApp | CloseApp
"""What is to be done on connections of apps."""

AppServerOutput = (
    AppEffect | TellFunder | ChangeIndexServers | Follow | KeepNote | ReadPage | AskIndexClient | DeclareCapacities
)
"""What the app server says: things to do on connections, and what concerns other parts of the node."""

"""What changed the balances with friends, and why; for as long as the node keeps a history."""

import os
from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from offset_ctrl.sdk.errors import NotPermitted
from offset_ctrl.sdk.history import HistoryReplaced, build_filter
from offset_ctrl.web import forms, views
from offset_ctrl.web.api.names import name_or_key
from offset_ctrl.web.grants import Scope
from offset_ctrl.web.operations import Call, Section
from offset_proto.messages.history import EntryKind, ReadHistory
from offset_proto.types import PublicKey, Uid

__all__ = ["section"]

section = Section("history", "The history of a node, entry by entry.")

Kind = Literal[
    "opening",
    "paid",
    "received",
    "forwarded",
    "broken",
    "reset",
    "forgiven",
    "limit",
    "rate",
    "opened",
    "closed",
    "withdrawn",
]


class HistoryQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """
    Which entries; *after* is the number of the last one that is known, and *kind* may be there several times.

    *timeline* is that of the page which *after* is from: then the answer is an error where the history is another one.
    """

    after: forms.Number = 0
    timeline: forms.Timeline | None = None
    limit: forms.Limit = 100
    friend: forms.Name | None = None
    currency: forms.Currency | None = None
    kind: Annotated[list[Kind], Meta(max_length=20)] = []
    not_before: forms.Moment | None = None
    before: forms.Moment | None = None


@section.get("/nodes/{node}/history", may=(Scope.READ,))
async def read_history(call: Call, query: HistoryQuery) -> forms.HistoryEntries:
    """Entries after a number, in order. A page may be empty although more follow: go on until *next* is *end*."""
    node = call.node.node
    if not node.permissions.config:
        raise NotPermitted("the ticket of this app has no permission 'config'")
    friend = None
    if query.friend is not None:
        found = name_or_key(query.friend)
        names = {each.name: key for key, each in node.report.friends.items()}
        friend = names.get(query.friend, found if isinstance(found, PublicKey) else None)
        if friend is None:
            node.friend(query.friend)  # says that there is none
    times = [None if each is None else datetime.fromtimestamp(each, UTC) for each in (query.not_before, query.before)]
    wanted = build_filter(friend, query.currency, [EntryKind(each) for each in query.kind], *times)
    request = ReadHistory(Uid(os.urandom(Uid.SIZE)), query.after, 0, False, query.limit, wanted)
    page = await call.node.session.read_history(request)
    if query.after and query.timeline not in (None, str(page.timeline)):
        raise HistoryReplaced
    return forms.HistoryEntries(
        entries=[views.entry_form(entry) for entry in page.entries],
        next=max(page.through, query.after),
        end=page.end,
        timeline=str(page.timeline),
    )

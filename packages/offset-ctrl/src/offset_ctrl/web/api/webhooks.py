"""Addresses that hear of events."""

from typing import Any

from offset_ctrl.web.grants import Scope
from offset_ctrl.web.operations import Call, Section
from offset_ctrl.web.problems import rejection
from offset_ctrl.web.webhook_book import NEEDED, WebhookBook, WebhookRow, format_secret
from offset_ctrl.web.webhook_forms import NewWebhook, WebhookMade, WebhookReport
from offset_proto.web_address import parse_web_address

__all__ = ["section"]

section = Section("webhooks", "Addresses that hear of events, with signed requests.")


@section.post("/nodes/{node}/webhooks", may=(Scope.READ, Scope.ASK, Scope.PAY), status=201, takes_key=True)
async def create_webhook(call: Call, body: NewWebhook) -> tuple[WebhookMade, bool]:
    """
    Send events to an address from now on: signed, each until it was taken, the oldest first.

    A token hears of what was made with it, and of everything where it may read. The secret is said here and nowhere
    else.
    """
    where = parse_web_address(body.address, "the address of a webhook")
    if where.is_here and not call.visitor.grants.has(Scope.CONFIGURE):
        detail = "only a token that may configure can have events sent to a program of this machine"
        raise rejection(403, "NotGranted", detail)
    for topic in body.topics:
        if not call.visitor.grants.has(Scope.READ) and not call.visitor.grants.has(NEEDED[topic]):
            wanted = f"{Scope.READ.value} or {NEEDED[topic].value}"
            raise rejection(403, "NotGranted", f"to hear of {topic}, a token must be one that may {wanted}")
    if call.visitor.is_browser:
        raise rejection(403, "NotGranted", "a webhook belongs to a token, and a browser has none")
    row, is_new = _book(call).create(call.visitor, call.node.key, call.key, body.address, body.topics)
    return WebhookMade(secret=format_secret(row.secret), **_members(call, row)), is_new


@section.get("/nodes/{node}/webhooks", may=(Scope.READ, Scope.ASK, Scope.PAY))
async def list_webhooks(call: Call) -> list[WebhookReport]:
    """The addresses that hear of events, and how that goes."""
    return [WebhookReport(**_members(call, row)) for row in _book(call).of(call.node.key, call.owner)]


@section.delete("/nodes/{node}/webhooks/{webhook_id}", may=(Scope.READ, Scope.ASK, Scope.PAY))
async def remove_webhook(call: Call) -> None:
    """Send nothing to an address any more, also not what waits."""
    row = _book(call).find(call.path["webhook_id"])
    if row is None or (row.node, row.owner) != (call.node.key, call.visitor.owner):
        raise rejection(404, "UnknownWebhook", "no such webhook was made here with this token")
    _book(call).remove(row.webhook_id)


def _book(call: Call) -> WebhookBook:
    return WebhookBook(call.desk.database)


def _members(call: Call, row: WebhookRow) -> dict[str, Any]:
    shown = ("webhook_id", "owner", "address", "created", "is_over", "waiting", "lost", "failure")
    return {**{name: getattr(row, name) for name in shown}, "node": call.node.name, "topics": list(row.topics)}

"""The first page: what there is, who owes whom, what needs attention, and what has happened last."""

from dataclasses import dataclass
from typing import Final

from offset_ctrl.rules.payment import PaymentState
from offset_ctrl.web.desk import Desk, WebNode
from offset_ctrl.web.invoice_book import InvoiceState
from offset_ctrl.web.payment_book import PaymentRow
from offset_ctrl.web.wallet.expecting import expected_of
from offset_ctrl.web.wallet.standing import Friendship, build_friendship, sum_up
from offset_ctrl.web.wallet.visits import Answer, Gone, Pages, Shown, Visit, wallet_path
from offset_proto.text import format_b64
from offset_proto.types import PublicKey

__all__ = ["Event", "friendship_of", "friendships_of", "name_of", "pages"]

pages = Pages()

FRIENDS_SHOWN: Final = 20
"""On the first page; the page of friends has all."""

EVENTS_SHOWN: Final = 12
EXPECTED_SHOWN: Final = 5
WAITING_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Event:
    """A payment or an invoice in a list; *amount* is above zero where it comes in."""

    path: str
    title: str
    party: str
    amount: int
    currency: str
    state: str
    since: int


def friendship_of(node: WebNode, key: PublicKey) -> Friendship:
    """A friend of a node; UnknownName where there is none."""
    return build_friendship(key, node.node.friend(key), is_heard=key not in node.session.unheard)


def friendships_of(node: WebNode) -> list[Friendship]:
    """The friends of a node, those with the largest balances first."""
    found = [friendship_of(node, key) for key in node.node.report.friends]
    return sorted(found, key=lambda each: (-each.weight, each.name.casefold()))


def name_of(node: WebNode, key: PublicKey) -> str | None:
    """The local name of whose *key* it is; None: a stranger's."""
    if key == node.node.public_key:
        return "yourself"
    friend = node.node.report.friends.get(key)
    return None if friend is None else friend.name


@pages.page("/")
async def show_first(visit: Visit) -> Answer:
    """The home of the only node, or a choice."""
    if len(visit.desk.nodes) == 1:
        return Gone(wallet_path(visit.desk.nodes[0]))
    return Shown("choice.html")


@pages.page("/wallet/{node}")
async def show_home(visit: Visit) -> Answer:
    """Everything at a glance."""
    node = visit.web_node
    friendships = friendships_of(node)
    expected, wanted = await expected_of(visit, EXPECTED_SHOWN)
    report = node.node.report
    values = {
        "totals": sum_up(friendships),
        "friendships": friendships[:FRIENDS_SHOWN],
        "number": len(friendships),
        "online": sum(each.state == "online" for each in friendships),
        "disagreements": [each for each in friendships if each.terms is not None],
        "unheard": [each for each in friendships if not each.is_heard],
        "has_relay": bool(report.relays),
        "has_index": report.connected_server is not None,
        "has_history": visit.keeps_history,
        "waiting": [_payment(visit.desk, node, row) for row in _waiting(visit.desk, node)],
        "expected": expected,
        "wanted": wanted,
        "events": _events(visit.desk, node),
    }
    return Shown("home.html", values)


def _waiting(desk: Desk, node: WebNode) -> list[PaymentRow]:
    """Payments that wait for somebody else, the one that has waited longest first."""
    rows = [row for row in desk.payment_book.unsettled(node.key) if row.state is not PaymentState.SENDING]
    return sorted(rows, key=lambda row: row.changed)[:WAITING_SHOWN]


def _events(desk: Desk, node: WebNode) -> list[Event]:
    """What was paid and asked for, the newest first."""
    found = [_payment(desk, node, row) for row in desk.payment_book.latest(node.key, EVENTS_SHOWN)]
    for invoice in desk.invoice_book.latest(node.key, EVENTS_SHOWN):
        if invoice.state is InvoiceState.ADDING:
            continue
        wanted = desk.requests.of(invoice.invoice)
        path = item_path(node, "invoices", format_b64(invoice.invoice.invoice_id))
        title = wanted.description or "Payment request"
        amount, currency = invoice.invoice.dest_payment, str(invoice.invoice.currency)
        since = invoice.created if invoice.state is InvoiceState.OPEN else invoice.changed
        found.append(Event(path, title, "", amount, currency, invoice.state.value, since))
    return sorted(found, key=lambda event: -event.since)[:EVENTS_SHOWN]


def item_path(node: WebNode, kind: str, name: str) -> str:
    """The page of a payment or of an invoice."""
    return f"{wallet_path(node)}/{kind}/{name}"


def _payment(desk: Desk, node: WebNode, row: PaymentRow) -> Event:
    request = desk.requests.of(row.invoice)
    seller = row.invoice.dest_public_key
    party = name_of(node, seller) or format_b64(seller)
    amount = -row.invoice.dest_payment - (row.fees or 0)
    path = item_path(node, "payments", row.payment_id)
    title = request.description or "Payment"
    return Event(path, title, party, amount, str(row.invoice.currency), row.state.value, row.changed)

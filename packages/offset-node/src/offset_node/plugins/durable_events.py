"""Events that a plugin must not miss. They are stored, as a hook and its arguments in JSON, until it has taken them."""

import json
from typing import Any, Final

from offset_funder.effects import InvoicePaid, PaymentFinished
from offset_node.state import AddPluginEvent
from offset_proto.errors import InvalidInput
from offset_proto.files import RECEIPT
from offset_proto.message_json import parse_json
from offset_proto.text import format_b64, parse_b64, parse_integer
from offset_proto.types import Currency, Integer, InvoiceId, PaymentId

__all__ = ["EVENT_HOOKS", "format_event", "parse_event"]

EVENT_HOOKS: Final = frozenset({"offset_invoice_paid", "offset_payment_finished"})


def format_event(occurrence: InvoicePaid | PaymentFinished) -> tuple[str, str]:
    """Hook and arguments of an event, as they are stored."""
    match occurrence:
        case InvoicePaid(invoice_id, currency, amount):
            value: dict[str, Any] = {
                "invoice_id": format_b64(invoice_id),
                "currency": str(currency),
                "amount": str(amount),
            }
            return "offset_invoice_paid", json.dumps(value)
        case PaymentFinished(payment_id, receipt):
            value = {
                "payment_id": format_b64(payment_id),
                "receipt": None if receipt is None else RECEIPT.format(receipt),
            }
            return "offset_payment_finished", json.dumps(value)


def parse_event(event: AddPluginEvent) -> dict[str, Any]:
    """
    The arguments for the hook of *event*.

    Raises:
        InvalidInput: What is stored is damaged.
    """
    value = parse_json(event.arguments)
    try:
        if event.hook == "offset_invoice_paid":
            invoice_id = parse_b64(InvoiceId, value["invoice_id"])
            amount = parse_integer(Integer(128), value["amount"])
            return {"invoice": InvoicePaid(invoice_id, Currency(value["currency"]), amount)}
        receipt = None if value["receipt"] is None else RECEIPT.parse(value["receipt"])
        return {"payment": PaymentFinished(parse_b64(PaymentId, value["payment_id"]), receipt)}
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{event.hook} at position {event.position}: {error}") from None

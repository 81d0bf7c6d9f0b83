"""
The ticket of a node that may be at one of several addresses, such as where its standbys listen. Spec 08 §2.3.

The original and relays and index servers know tickets with one address. Further ones stand in a member of their own,
``otherAddresses``, which the original ignores as any that it does not know: it reaches the node at the first address,
or not at all.
"""

from collections.abc import Sequence
from typing import Final

from offset_proto.errors import InvalidInput
from offset_proto.files import FileKind
from offset_proto.message import frozen
from offset_proto.message_json import CAMEL_CASE, JsonForm, format_json, parse_json
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import NetAddress, PublicKey

__all__ = ["NODE_ADDRESSES_MAX", "NODE_TICKET", "NodeTicket", "node_ticket", "other_addresses"]

NODE_ADDRESSES_MAX: Final = 8
"""In one ticket. Each attempt to reach the node tries them all, one after the other."""


@frozen
class NodeTicket(RelayAddress):
    """Where a node listens for apps, its identity, and where it may listen instead."""

    other_addresses: tuple[NetAddress, ...]


def other_addresses(ticket: RelayAddress) -> tuple[NetAddress, ...]:
    """The addresses of a node behind the first one."""
    return ticket.other_addresses if isinstance(ticket, NodeTicket) else ()


def node_ticket(public_key: PublicKey, addresses: Sequence[NetAddress]) -> RelayAddress:
    """
    The ticket of a node.

    Args:
        public_key: Of the node.
        addresses: Where it may be, in the order in which apps try them; one at least.

    Raises:
        InvalidInput: Too many.
    """
    first, *others = addresses
    _check_number(len(addresses))
    return NodeTicket(public_key, first, tuple(others)) if others else RelayAddress(public_key, first)


def _check_number(addresses: int) -> None:
    if addresses > NODE_ADDRESSES_MAX:
        raise InvalidInput(f"{addresses} addresses of a node; a ticket has at most {NODE_ADDRESSES_MAX}")


_SEVERAL: Final = JsonForm(NodeTicket, camel_case=CAMEL_CASE)


class _NodeTickets(FileKind[RelayAddress]):
    """Tickets with one address as the original has them, and `NodeTicket` where there are more."""

    def format(self, value: RelayAddress) -> str:
        return format_json(_SEVERAL.to_value(value)) if isinstance(value, NodeTicket) else super().format(value)

    def parse(self, text: str) -> RelayAddress:
        value = parse_json(text)
        if not isinstance(value, dict) or "otherAddresses" not in value:
            return super().parse(text)
        ticket = _SEVERAL.from_value(value)
        _check_number(1 + len(ticket.other_addresses))
        return ticket


NODE_TICKET: Final = _NodeTickets(JsonForm(RelayAddress, camel_case=CAMEL_CASE))

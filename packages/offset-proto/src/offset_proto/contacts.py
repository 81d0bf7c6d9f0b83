"""
The contact list of a node: what it takes to become friends again after its database was lost. No secrets. Spec 08 §6.7.

A list says what was so at one moment: the balances in it are for comparison, and prove nothing.
"""

from typing import Final

from offset_proto.files import FileKind
from offset_proto.message import frozen
from offset_proto.message_json import SNAKE_CASE, JsonForm
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, Rate, RelayAddress
from offset_proto.types import I128, U128, Currency, PublicKey

__all__ = ["CONTACTS", "Contact", "ContactCurrency", "ContactList"]


@frozen
class ContactCurrency:
    """
    A currency that is configured for a friend.

    Attributes:
        currency: Its name.
        rate: What the friend is charged for forwarding.
        max_debt: How many credits the friend may owe.
        is_open: Whether requests are forwarded.
        is_active: Whether the friend had agreed to it.
        balance: Credits that the friend owed then; below zero, what the node owed. Of a channel that was broken, the
            balance of the node's own terms.
    """

    currency: Currency
    rate: Rate
    max_debt: U128
    is_open: bool
    is_active: bool
    balance: I128


@frozen
class Contact:
    """A friend: who it is, where it is reached, how it is configured."""

    public_key: PublicKey
    name: str
    is_enabled: bool
    relays: tuple[RelayAddress, ...]
    currencies: tuple[ContactCurrency, ...]


@frozen
class ContactList:
    """The friends, relays and index servers of the node *public_key*."""

    public_key: PublicKey
    relays: tuple[NamedRelayAddress, ...]
    index_servers: tuple[NamedIndexServerAddress, ...]
    friends: tuple[Contact, ...]


CONTACTS: Final = FileKind(JsonForm(ContactList, camel_case=SNAKE_CASE), secret=True)

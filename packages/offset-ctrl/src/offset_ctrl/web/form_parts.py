"""What the forms of the API are made of: values, contents of files, what became of a commit, why something failed."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

__all__ = [
    "Address",
    "Amount",
    "Balance",
    "CommitForm",
    "Currency",
    "Delivered",
    "Delivery",
    "Failure",
    "FriendTicketForm",
    "Heard",
    "Id",
    "InvoiceForm",
    "Key",
    "Limit",
    "Long",
    "Moment",
    "Name",
    "Number",
    "Problem",
    "RateForm",
    "ReceiptForm",
    "RelayForm",
    "Route",
    "Said",
    "Seconds",
    "Timeline",
    "U32Number",
    "encode_form",
]

NAME_CHARACTERS_MAX: Final = 256

Amount = Annotated[str, Meta(pattern="^(0|[1-9][0-9]{0,38})$", description="Credits, as a decimal number.")]
Balance = Annotated[
    str, Meta(pattern="^(0|-?[1-9][0-9]{0,38})$", description="Credits that the friend owes; negative: that we owe.")
]
Key = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$", description="32 bytes in base64url.")]
Id = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{22}$", description="16 bytes in base64url.")]
Long = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{86}$", description="64 bytes in base64url.")]
Currency = Annotated[str, Meta(min_length=1, max_length=16, description="At most 16 bytes of UTF-8.")]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX, description="A local name, or a public key.")]
Address = Annotated[str, Meta(min_length=1, max_length=256, description="HOST:PORT")]
Seconds = Annotated[int, Meta(ge=0, le=2**53 - 1, description="Seconds since 1970-01-01 UTC.")]
Number = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Moment = Annotated[int, Meta(ge=0, le=2**35, description="Seconds since 1970-01-01 UTC.")]
U32Number = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Timeline = Annotated[str, Meta(pattern="^[0-9]{1,20}$", description="Of a history; 0 is the first of a node.")]
Limit = Annotated[int, Meta(ge=1, le=500)]


class Said(Struct, frozen=True, kw_only=True):
    """What the server says."""


class Heard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client says."""


class InvoiceForm(Heard, frozen=True):
    """An invoice, as its file has it."""

    invoice_id: Key
    currency: Currency
    dest_public_key: Key
    dest_payment: Amount


class CommitForm(Heard, frozen=True):
    """A commit, as its file has it; whoever shows it to the seller pays."""

    response_hash: Key
    src_plain_lock: Key
    dest_hashed_lock: Key
    dest_payment: Amount
    total_dest_payment: Amount
    invoice_id: Key
    currency: Currency
    signature: Long


class ReceiptForm(Said, frozen=True):
    """A receipt, as its file has it; it proves to anybody that the invoice was paid."""

    response_hash: Key
    invoice_id: Key
    currency: Currency
    src_plain_lock: Key
    dest_plain_lock: Key
    is_complete: bool
    dest_payment: Amount
    total_dest_payment: Amount
    signature: Long


class RelayForm(Heard, frozen=True, rename="camel"):
    """Where a relay or an index server listens, and its key; as its ticket has it."""

    public_key: Key
    address: Address


class FriendTicketForm(Heard, frozen=True, rename="camel"):
    """A friend's ticket, as its file has it."""

    public_key: Key
    relays: Annotated[list[RelayForm], Meta(max_length=100)]


class RateForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What forwarding costs: floor(amount * mul / 2**32) + add credits."""

    mul: U32Number = 0
    add: U32Number = 0


class Route(Said, frozen=True):
    """A route, what it carries, and what its mediators take together. All of one list can be used together."""

    keys: list[Key]
    capacity: Amount
    rate: RateForm


class Delivered(Said, frozen=True):
    """A commit was taken: the invoice is paid."""

    invoice_id: Key
    state: Literal["collected"]


class Delivery(Said, frozen=True):
    """
    The address to which the commit is delivered, and how that stands.

    *state* is waiting, delivered, refused, or failed (it could not be reached); then *detail* says why, and the commit
    can be handed over in another way.
    """

    address: str
    state: Literal["waiting", "delivered", "refused", "failed"]
    detail: str


class Failure(Said, frozen=True):
    """Why a payment failed: the name of the SDK's error, and what it says."""

    name: str
    detail: str
    available: Amount | None = None
    largest: Amount | None = None
    position: int | None = None


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Why a request was not carried out (RFC 9457).

    *title* is the name of the error in the SDK; what it knows beyond its text follows.
    """

    type: str
    title: str
    status: int
    detail: str
    available: Amount | None = None
    largest: Amount | None = None
    position: int | None = None


def encode_form(value: Any) -> bytes:
    """The JSON of a form, or of a list of forms."""
    return _ENCODER.encode(value)


def _as_plain(value: Any) -> str:
    """Texts of ours are subclasses of ``str``, which msgspec does not take for texts."""
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_as_plain)

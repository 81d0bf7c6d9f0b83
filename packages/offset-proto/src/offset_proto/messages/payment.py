"""Values shared by several protocols: addresses, rates, commits and receipts. Spec 01 §9.3 (common.capnp)."""

from offset_proto.layout import struct
from offset_proto.types import (
    U32,
    U128,
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    NetAddress,
    PlainLock,
    PublicKey,
    Signature,
)

__all__ = ["Commit", "NamedIndexServerAddress", "NamedRelayAddress", "Rate", "Receipt", "RelayAddress"]


@struct("common")
class Rate:
    """What forwarding costs: floor(payment * mul / 2**32) + add, in credits."""

    mul: U32
    add: U32


@struct("common")
class RelayAddress:
    """Where a relay listens, and its identity."""

    public_key: PublicKey
    address: NetAddress


@struct("common")
class NamedRelayAddress:
    """A relay of the local node, with the name that its owner gave it."""

    public_key: PublicKey
    address: NetAddress
    name: str

    def without_name(self) -> RelayAddress:
        """The part of it that friends get to see."""
        return RelayAddress(public_key=self.public_key, address=self.address)


@struct("common")
class NamedIndexServerAddress:
    """An index server that the local node uses, with the name that its owner gave it."""

    public_key: PublicKey
    address: NetAddress
    name: str


@struct("common")
class Commit:
    """What the buyer hands to the seller, out of band, to release a complete payment. Spec 05 §12.4."""

    response_hash: HashResult
    src_plain_lock: PlainLock
    dest_hashed_lock: HashedLock
    dest_payment: U128
    total_dest_payment: U128
    invoice_id: InvoiceId
    currency: Currency
    signature: Signature


@struct("common")
class Receipt:
    """Proof for anybody that the invoice was paid. Spec 05 §12.4."""

    response_hash: HashResult
    invoice_id: InvoiceId
    currency: Currency
    src_plain_lock: PlainLock
    dest_plain_lock: PlainLock
    is_complete: bool
    dest_payment: U128
    total_dest_payment: U128
    signature: Signature

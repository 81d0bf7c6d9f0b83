"""
Commits that this server delivers to sellers, for payments whose request names an address. Spec 13 §7.

What is to be delivered is stored with the payment, in the transaction that begins it. So a server that is killed goes
on: as long as a payment has its commit and no end, and the address has neither taken nor refused the commit, it is
delivered again. That does no harm, since the seller's program takes the same commit any number of times.

===========  ===========================================================================
`waiting`    there is no commit yet, or nobody has taken it so far
`delivered`  the seller's program has it
`refused`    it has said no; the commit can be handed over in another way
`failed`     it could not be reached for `DELIVERY_SECONDS`; the same
===========  ===========================================================================
"""

import enum
from dataclasses import dataclass
from typing import Final

from offset_ctrl.sdk.delivery import DeliveryFailed, deliver_commit
from offset_ctrl.web.database import Database
from offset_proto.errors import InvalidInput
from offset_proto.messages.payment import Commit

__all__ = ["DeliveryRow", "DeliveryState", "find_delivery", "store_delivery", "try_delivery"]

DELIVERY_SECONDS: Final = 3600.0


class DeliveryState(enum.Enum):
    """Where a delivery stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """To which address the commit of a payment goes, how that stands, and why it failed."""

    address: str
    state: DeliveryState
    detail: str


def store_delivery(database: Database, payment_id: str, row: DeliveryRow) -> None:
    """Write down how a delivery stands; only inside of a transaction."""
    values = (payment_id, row.address, row.state.value, row.detail)
    database.ask("INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?)", *values)


def find_delivery(database: Database, payment_id: str) -> DeliveryRow | None:
    """The delivery of a payment; None: a person hands the commit over."""
    row = database.ask_one("SELECT address, state, detail FROM deliveries WHERE payment_id = ?", payment_id)
    return None if row is None else DeliveryRow(row["address"], DeliveryState(row["state"]), row["detail"])


async def try_delivery(address: str, commit: Commit) -> DeliveryRow:
    """Deliver a commit; how that ended."""
    try:
        await deliver_commit(address, commit, DELIVERY_SECONDS)
    except (DeliveryFailed, InvalidInput) as error:
        is_refused = isinstance(error, InvalidInput) or error.is_refused
        return DeliveryRow(address, DeliveryState.REFUSED if is_refused else DeliveryState.FAILED, str(error))
    return DeliveryRow(address, DeliveryState.DELIVERED, "")

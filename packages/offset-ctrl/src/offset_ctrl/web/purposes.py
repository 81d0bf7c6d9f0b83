"""What a payment is for, kept by the node as a note: its own history, and the pages of other apps, show it then."""

import logging
from collections.abc import Callable
from typing import Final

from offset_ctrl.sdk.history import note_of
from offset_ctrl.sdk.node import Node
from offset_proto.errors import OffsetError
from offset_proto.messages.extensions import Extension
from offset_proto.text import format_b64
from offset_proto.types import InvoiceId, PaymentId

__all__ = ["note_purpose"]

log: Final = logging.getLogger("offset.web")


async def note_purpose(node: Node, subject: InvoiceId | PaymentId, find: Callable[[], str | None]) -> None:
    """
    Have the node keep what an invoice or a payment is for, where it keeps notes; otherwise nothing happens.

    It is a note and no more: where it can not be found or kept, that is told in the log, and the payment goes on.

    Args:
        node: Where it is kept.
        subject: What it is noted to.
        find: What is known of it here; None: nothing.
    """
    if Extension.HISTORY not in node.extensions:
        return
    try:
        description = find()
        if description is not None:
            await node.set_note(subject, note_of(description))
    except OffsetError as error:
        log.warning("what %s is for was not noted: %s", format_b64(subject), error)

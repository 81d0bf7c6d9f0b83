"""Receipts, commits and friend tokens, checked offline. Spec 01 §13, 08 §4."""

from offset_crypto.identity import InvalidSignature, verify
from offset_crypto.signed import commit_buffer, move_token_hashed_buffer, receipt_buffer
from offset_proto.messages.payment import Commit, Receipt
from offset_proto.messages.report import MoveTokenHashedReport
from offset_proto.types import PublicKey

__all__ = ["verify_commit", "verify_receipt", "verify_token"]


def verify_receipt(receipt: Receipt, dest_public_key: PublicKey) -> None:
    """
    Check that the seller *dest_public_key* was paid what *receipt* says.

    Raises:
        InvalidSignature: It was not. Spec 08 §4 [WIRE].
    """
    verify(receipt_buffer(receipt), dest_public_key, receipt.signature)


def verify_commit(commit: Commit, dest_public_key: PublicKey) -> None:
    """
    Check that *commit* releases a complete payment to the seller *dest_public_key*.

    Raises:
        InvalidSignature: It does not, or its part exceeds its total. Spec 08 §4 [WIRE].
    """
    if commit.total_dest_payment < commit.dest_payment:
        raise InvalidSignature("the commit pays more than its total")
    verify(commit_buffer(commit), dest_public_key, commit.signature)


def verify_token(token: MoveTokenHashedReport) -> None:
    """
    Check that the friend named in *token* as local signed the balances in it.

    Raises:
        InvalidSignature: It did not; also for the unsigned initial token. Spec 08 §4 [WIRE].
    """
    verify(move_token_hashed_buffer(token), token.token_info.mc.local_public_key, token.new_token)

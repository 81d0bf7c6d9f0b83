"""
Fees: what a mediator keeps of what it forwards. Spec 04 §5.

All sums are exact; nothing here rounds but the two floors that the specification names.
"""

from offset_proto.errors import RefusedError
from offset_proto.messages.payment import Rate
from offset_proto.types import U32_MAX, U128, U128_MAX

__all__ = ["FREE", "FeeOverflow", "calc_fee", "max_payable", "sum_rates"]

FREE = Rate(mul=0, add=0)


class FeeOverflow(RefusedError):
    """The fee does not fit 128 bits."""


def calc_fee(rate: Rate, dest_payment: U128) -> U128:
    """
    Fee in credits for forwarding *dest_payment* credits: floor(dest_payment * mul / 2**32) + add.

    Raises:
        FeeOverflow: The fee exceeds 2**128 - 1.

    Spec: 04 §5 [WIRE].
    """
    fee = (dest_payment * rate.mul >> 32) + rate.add
    if fee > U128_MAX:
        raise FeeOverflow(f"the fee for {dest_payment} credits exceeds 128 bits")
    return fee


def max_payable(rate: Rate, capacity: U128) -> U128:
    """The most credits x with x + fee(x) <= *capacity* for sure; 0 if not even ``add`` fits. Spec 06 §8.1."""
    if capacity < rate.add:
        return 0
    return ((capacity - rate.add) << 32) // (rate.mul + (1 << 32))


def sum_rates(rates: list[Rate]) -> Rate | None:
    """Component-wise sum of *rates*, or None where a component exceeds 32 bits. Spec 06 §6.6b, D64."""
    mul, add = sum(rate.mul for rate in rates), sum(rate.add for rate in rates)
    return Rate(mul=mul, add=add) if mul <= U32_MAX and add <= U32_MAX else None

"""The table of a payment's life: every pair of a state and an event, and every path through it."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_crypto.payment import PaymentEffect, PaymentEvent, PaymentState, advance

EXPECTED = {  # events in order: COMMIT, GIVE_UP, BREAK_OFF, RECEIPT, CANCELLED, FORGOTTEN
    "SENDING": "COMMITTED CLOSING CLOSING PAID FAILED FAILED",
    "COMMITTED": "COMMITTED COMMITTED UNKNOWN PAID FAILED UNKNOWN",
    "CLOSING": "CLOSING CLOSING CLOSING PAID FAILED FAILED",
    "PAID": "PAID PAID PAID PAID PAID PAID",
    "FAILED": "FAILED FAILED FAILED FAILED FAILED FAILED",
    "UNKNOWN": "UNKNOWN UNKNOWN UNKNOWN PAID FAILED UNKNOWN",
}


@pytest.mark.parametrize(("state", "event"), list(product(PaymentState, PaymentEvent)))
def test_every_event_in_every_state_leads_where_the_rules_say(state: PaymentState, event: PaymentEvent) -> None:
    """The table in the test was written from the rules, and not from the code."""
    after = EXPECTED[state.name].split()[list(PaymentEvent).index(event)]
    assert advance(state, event)[0] is PaymentState[after]


@given(st.lists(st.sampled_from(PaymentEvent), max_size=12))
def test_after_the_commit_was_handed_out_only_a_proof_says_failed(events: list[PaymentEvent]) -> None:
    """Whoever reads "failed" pays again; so only the word of the node that it was cancelled may lead there."""
    state = PaymentState.SENDING
    seen: list[PaymentEffect] = []
    for event in events:
        state, effects = advance(state, event)
        if PaymentEffect.HAND_OUT_COMMIT in seen and PaymentEffect.TELL_FAILED in effects:
            assert event is PaymentEvent.CANCELLED
        if PaymentEffect.HAND_OUT_COMMIT in seen and state is PaymentState.FAILED:
            assert PaymentEvent.CANCELLED in events
        if PaymentEffect.HAND_OUT_COMMIT in effects:
            assert effects[0] is PaymentEffect.WRITE_COMMIT
            assert PaymentEffect.TELL_FAILED not in seen
        seen += effects

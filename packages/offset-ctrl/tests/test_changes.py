"""Changes of a node's configuration: what is new is checked, what goes may be anything."""

import pytest

from offset_ctrl.rules import changes
from offset_proto.errors import InvalidInput
from offset_proto.files import FriendTicket
from offset_proto.messages.payment import Rate, RelayAddress
from offset_proto.types import Currency, NetAddress, PublicKey

KEY = PublicKey(bytes(32))
RELAY = RelayAddress(KEY, NetAddress("relay.example.org:4000"))
ODD_RELAY = RelayAddress(KEY, NetAddress("local host:99999"))
ODD_CURRENCY = Currency("FST\n")


@pytest.mark.parametrize(
    ("build", "arguments", "reason"),
    [
        (changes.add_relay, (ODD_RELAY, "relay"), "invalid address 'local host:99999'"),
        (changes.add_index_server, (ODD_RELAY, "index"), "invalid address 'local host:99999'"),
        (changes.add_relay, (RELAY, " "), "only blanks"),
        (changes.add_index_server, (RELAY, ""), "is empty"),
        (changes.add_friend, (FriendTicket(KEY, (RELAY,)), "bo\nb"), "control character"),
        (changes.set_friend_name, (KEY, ""), "is empty"),
        (changes.open_currency, (KEY, ODD_CURRENCY), "control character"),
        (changes.set_max_debt, (KEY, ODD_CURRENCY, 5), "control character"),
        (changes.set_rate, (KEY, Currency(""), Rate(0, 0)), "is empty"),
    ],
)
def test_what_nobody_could_use_is_refused(build, arguments, reason):
    """Before anything is sent."""
    change = build(*arguments)
    with pytest.raises(InvalidInput, match=reason):
        changes.as_entered(change)


def test_what_the_original_let_through_can_be_read_and_taken_away():
    """A friend whose relay has an odd address is a friend; an odd currency can be closed and removed."""
    for change in (
        changes.add_friend(FriendTicket(KEY, (ODD_RELAY,)), "bob"),
        changes.set_friend_relays(KEY, (ODD_RELAY,)),
        changes.close_currency(KEY, ODD_CURRENCY),
        changes.remove_currency(KEY, ODD_CURRENCY),
    ):
        assert changes.as_entered(change) is change

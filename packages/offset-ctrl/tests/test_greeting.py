"""The order of what a node says: permissions, report, and then messages."""

import pytest

from offset_ctrl.connection.greeting import Greeting
from offset_ctrl.testing import build_report
from offset_proto import wire
from offset_proto.errors import PeerError
from offset_proto.messages.app import AppPermissions, AppServerToApp, ReportMutations
from offset_proto.types import PublicKey

PERMISSIONS = AppPermissions(routes=True, buyer=False, seller=True, config=False)
REPORT = build_report(PublicKey(bytes(range(32))))
MESSAGE = ReportMutations(None, ())


def test_messages_count_as_permissions_then_report_then_what_they_say() -> None:
    """An app knows what it may ask for before it hears anything else."""
    heard: list[AppServerToApp] = []
    greeting = Greeting(heard.append)

    greeting.take(wire.APP_PERMISSIONS.encode(PERMISSIONS))
    assert (greeting.permissions, greeting.is_complete) == (PERMISSIONS, False)
    greeting.take(wire.NODE_REPORT.encode(REPORT))
    assert greeting.is_complete
    assert greeting.report.local_public_key == REPORT.funder_report.local_public_key
    assert heard == []
    greeting.take(wire.APP_SERVER_TO_APP.encode(MESSAGE))
    assert heard == [MESSAGE]


@pytest.mark.parametrize("taken_before", [0, 1, 2])
def test_bytes_that_say_nothing_are_the_fault_of_the_node(taken_before: int) -> None:
    """A message that can not be decoded is refused at every place, and does not count as the message due there."""
    heard: list[AppServerToApp] = []
    greeting = Greeting(heard.append)
    for message in [wire.APP_PERMISSIONS.encode(PERMISSIONS), wire.NODE_REPORT.encode(REPORT)][:taken_before]:
        greeting.take(message)

    with pytest.raises(PeerError):
        greeting.take(b"\xff" * 5)
    assert greeting.is_complete == (taken_before == 2)
    assert heard == []

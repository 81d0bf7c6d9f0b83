"""Auditors look, and do nothing else."""

import logging

import pytest

from offset_auditor import Auditor
from offset_node.plugins.testing import build_node_access
from offset_node.plugins.values import App
from offset_proto.errors import InvalidInput
from offset_proto.messages.app import AppPermissions, EnableFriend, RequestClosePayment
from offset_proto.text import format_b64
from offset_proto.types import PaymentId, PublicKey

ALL = AppPermissions(routes=True, buyer=True, seller=True, config=True)
AUDITOR, OTHER = (App(PublicKey(bytes([n]) * 32), ALL) for n in (1, 2))


@pytest.fixture
def plugin() -> Auditor:
    """One auditor."""
    plugin = Auditor()
    plugin.offset_startup(build_node_access({"apps": [format_b64(AUDITOR.public_key)]}))
    return plugin


@pytest.mark.parametrize("request_", [EnableFriend(OTHER.public_key), RequestClosePayment(PaymentId(bytes(16)))])
def test_an_auditor_may_do_nothing(plugin, request_):
    """Though its ticket has all four flags; others are left to their tickets."""
    assert plugin.offset_judge_request(AUDITOR, request_) is not None
    assert plugin.offset_judge_request(OTHER, request_) is None


def test_whoever_looks_is_seen(plugin, caplog):
    """In the log, coming and going."""
    with caplog.at_level(logging.WARNING):
        plugin.offset_app_connected(OTHER)
        plugin.offset_app_connected(AUDITOR)
        plugin.offset_app_disconnected(AUDITOR)
    name = format_b64(AUDITOR.public_key)
    assert [record.getMessage() for record in caplog.records] == [f"auditor {name} connected", f"auditor {name} left"]


@pytest.mark.parametrize("apps", [5, [5], ["x"]])
def test_wrong_settings_keep_the_node_from_starting(apps):
    """An auditor that is not understood could do things."""
    with pytest.raises(InvalidInput):
        Auditor().offset_startup(build_node_access({"apps": apps}))

"""What apps imported from 0.1 goes on working, and says where it is now."""

import importlib
import sys

import pytest


def test_the_module_node_of_0_1_is_the_one_of_today_and_names_it() -> None:
    """The same objects under both names; a DeprecationWarning says the new one."""
    sys.modules.pop("offset_ctrl.node", None)
    with pytest.warns(DeprecationWarning, match=r"offset_ctrl\.sdk\.node"):
        module = importlib.import_module("offset_ctrl.node")
    today = importlib.import_module("offset_ctrl.sdk.node")
    for name in today.__all__:
        assert getattr(module, name) is getattr(today, name)


def test_the_module_blocking_keeps_its_public_name() -> None:
    """`offset_ctrl.blocking` is what the documentation names."""
    assert (
        importlib.import_module("offset_ctrl.blocking").connect
        is importlib.import_module("offset_ctrl.sdk.blocking").connect
    )


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("offset_ctrl.programs.stcompact.compact_node", "AckUser AskNode CompactNode Effect End Save TellUser"),
        ("offset_ctrl.programs.stcompact.server", "CompactServer NodeHandle NodeSource Received SourceClosed"),
        ("offset_ctrl.sdk.node", "CommitNotDelivered NotPermitted PaymentPending RequestRefused UnknownName connect"),
    ],
)
def test_what_moved_to_a_module_of_its_own_is_still_where_it_was(module: str, names: str) -> None:
    """Whoever imports a name from where it stood before goes on without a change."""
    loaded = importlib.import_module(module)
    assert set(names.split()) <= set(loaded.__all__)
    assert all(hasattr(loaded, name) for name in loaded.__all__)

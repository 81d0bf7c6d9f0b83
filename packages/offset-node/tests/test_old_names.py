"""What plugins imported from 0.1 goes on working, and says where it is now."""

import importlib
import sys

import pytest

NAMES = {
    "offset_node.hookspecs": ("offset_node.plugins.hooks", ["HOOKS_VERSION", "hookimpl"]),
    "offset_node.permissions": ("offset_node.plugins.ticket", ["TicketPlugin", "add_permissions", "is_permitted"]),
    "offset_node.plugin_store": ("offset_node.plugins.access", ["NodeAccess", "PluginStore", "StoreFull"]),
    "offset_node.plugin_testing": ("offset_node.plugins.testing", ["build_node_access"]),
    "offset_node.policy": ("offset_node.plugins.values", ["App", "Forwarding", "Grant", "NotGranted", "Refusal"]),
    "offset_node.report_scope": ("offset_node.plugins.scope", ["EVERYTHING", "NOTHING", "ReportScope"]),
}


@pytest.mark.parametrize("old", NAMES)
def test_a_module_of_0_1_is_the_one_of_today_and_names_it(old: str) -> None:
    """The same objects under both names; a DeprecationWarning says the new one."""
    new, names = NAMES[old]
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=new.replace(".", r"\.")):
        module = importlib.import_module(old)
    for name in names:
        assert getattr(module, name) is getattr(importlib.import_module(new), name)

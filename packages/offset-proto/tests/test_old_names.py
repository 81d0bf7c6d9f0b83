"""What was imported from 0.1 goes on working, and says where it is now."""

import importlib
import sys

import pytest


def test_the_module_json_form_of_0_1_is_the_one_of_today_and_names_it() -> None:
    """The same objects under both names; a DeprecationWarning says the new one."""
    sys.modules.pop("offset_proto.json_form", None)
    with pytest.warns(DeprecationWarning, match=r"offset_proto\.message_json"):
        old = importlib.import_module("offset_proto.json_form")
    today = importlib.import_module("offset_proto.message_json")
    for name in today.__all__:
        assert getattr(old, name) is getattr(today, name)

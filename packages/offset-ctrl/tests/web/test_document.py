"""The OpenAPI document says what the server does: every route, scope and form."""

import re

import msgspec
import pytest

from offset_ctrl.web import forms
from offset_ctrl.web.application import DOCUMENT_PATH, SECTIONS
from offset_ctrl.web.grants import Scope
from offset_ctrl.web.openapi import build_document
from offset_ctrl.web.operations import PREFIX, Section, Streamed

OPERATIONS = [operation for section in SECTIONS for operation in section.operations]
DOCUMENT = build_document(SECTIONS)


def test_every_route_is_in_it(run_server):
    """And nothing else is; it is what the server serves."""
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == {(operation.method, PREFIX + operation.path) for operation in OPERATIONS}

    async def body(server):
        assert (await server.client.get(DOCUMENT_PATH)).json() == DOCUMENT

    run_server(body)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation(operation):
    """Its scopes, variables, parameters, body and answer are in the document."""
    said = DOCUMENT["paths"][PREFIX + operation.path][operation.method.lower()]
    assert said["operationId"] == operation.name
    assert said["summary"]
    assert said["x-may"] == [scope.value for scope in operation.may]
    tokens = [{"token": [scope.value]} for scope in operation.may if scope is not Scope.ANYBODY]
    assert said["security"] == tokens
    assert tokens or operation.name == "deliver_commit"
    variables = {each["name"] for each in said["parameters"] if each["in"] == "path"}
    assert variables == set(re.findall(r"\{(\w+)\}", operation.path))
    queries = {each["name"] for each in said["parameters"] if each["in"] == "query"}
    fields = () if operation.query is None else msgspec.structs.fields(operation.query)
    assert queries == {each.encode_name for each in fields}
    assert ("requestBody" in said) == (operation.body is not None)
    assert ("200" in said["responses"]) == (operation.status == 200 or operation.takes_key)
    answer = said["responses"][str(operation.status)]
    assert ("content" in answer) == (operation.answer is not None)
    if operation.answer is Streamed:
        assert list(answer["content"]) == ["text/event-stream"]


def test_references_lead_somewhere():
    """Each form that is named is described."""
    text = msgspec.json.encode(DOCUMENT).decode()
    for kind, name in set(re.findall(r'"#/components/(\w+)/(\w+)"', text)):
        assert name in DOCUMENT["components"][kind]
    for name in ("PaymentReport", "InvoiceReport", "Friend", "Entry", "Problem", "CommitForm"):
        assert name in DOCUMENT["components"]["schemas"]


def test_names_of_operations_are_unique():
    """Generated clients make functions of them."""
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)


def test_an_operation_without_scopes_can_not_be_declared():
    """It would be one that everybody may use."""
    with pytest.raises(AssertionError, match="no scope"):
        Section("open", "").get("/open", may=())


def test_what_a_form_says_is_what_is_read():
    """A key of the wrong length is refused by the same pattern that the document shows."""
    pattern = DOCUMENT["components"]["schemas"]["InvoiceForm"]["properties"]["invoice_id"]["pattern"]
    assert re.fullmatch(pattern.strip("^$"), "A" * 43)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(
            {"invoice_id": "A" * 42, "currency": "F", "dest_public_key": "A" * 43, "dest_payment": "1"},
            forms.InvoiceForm,
        )

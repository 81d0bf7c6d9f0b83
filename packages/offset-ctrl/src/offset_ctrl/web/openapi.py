"""
The OpenAPI document (3.1), made of the declarations that the routes are made of. Pure.

msgspec describes the classes of `forms` by JSON Schema, as OpenAPI 3.1 takes it. What an operation may answer besides
what it declares follows from what can happen before it runs (`dispatch`), so it is the same for all.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from offset_ctrl import __version__
from offset_ctrl.web.forms import Problem
from offset_ctrl.web.grants import Scope
from offset_ctrl.web.operations import PREFIX, Operation, Section, Streamed
from offset_ctrl.web.webhook_forms import InvoicePaid, PaymentFinished

__all__ = ["build_document"]

_REFERENCE: Final = "#/components/schemas/{name}"
_PATH_VARIABLE: Final = re.compile(r"\{([a-z_]+)(?::path)?\}")
_ABOUT_VARIABLES: Final = {
    "node": "The name of a node of this server, or its public key.",
    "friend": "The local name of a friend, or its public key; a name with a slash in it can not be used here.",
    "currency": "The name of a currency.",
    "server": "The local name of the server, or its public key.",
    "invoice_id": "The id of an invoice.",
    "payment_id": "The id of a payment.",
    "webhook_id": "The id of a webhook.",
    "run_id": "The id of what pays circles, or has.",
}
_EVENTS: Final = {"invoice.paid": InvoicePaid, "payment.finished": PaymentFinished}
_PROBLEMS: Final = {
    "400": "Something in the request is wrong.",
    "401": "The token is not valid.",
    "403": "The token may not do this, or its limit of the day is reached.",
    "404": "There is no such thing.",
    "408": "The body came too slowly.",
    "409": "The state of the node forbids it; nothing has changed.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "421": "The request names another host.",
    "422": "The idempotency key was used for another request.",
    "429": "Too much at once.",
    "500": "A fault of this program.",
    "501": "The node can not do this.",
    "503": "The node, its index server, or the database of this server can not be reached now.",
}


def build_document(sections: Iterable[Section]) -> dict[str, Any]:
    """The document that describes the operations of *sections*."""
    sections = list(sections)
    operations = [operation for section in sections for operation in section.operations]
    types = {Problem, *_EVENTS.values()} | {
        form for each in operations for form in (each.body, _answer(each)) if form is not None
    }
    schemas, components = msgspec.json.schema_components(sorted(types, key=str), ref_template=_REFERENCE)
    schema_of = dict(zip(sorted(types, key=str), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for section in sections:
        for operation in section.operations:
            path = PREFIX + _PATH_VARIABLE.sub(r"{\1}", operation.path)
            paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, section, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Offset: the API of stweb",
            "version": __version__,
            "description": "Amounts are decimal strings, ids and keys base64url, times seconds since 1970 (UTC).",
        },
        "tags": [{"name": section.name, "description": section.about} for section in sections],
        "paths": paths,
        "webhooks": {name: {"post": _event(name, schema_of[form])} for name, form in _EVENTS.items()},
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Made by `stweb token create`."}
            },
            "responses": {
                status: {
                    "description": about,
                    "content": {"application/problem+json": {"schema": schema_of[Problem]}},
                }
                for status, about in _PROBLEMS.items()
            },
        },
    }


def _event(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """What is sent to an address that was given to create_webhook."""
    headers = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return {
        "summary": f"{name}, as it is sent to a webhook; signed by the rules of Standard Webhooks 1.0",
        "parameters": [
            {"name": header, "in": "header", "required": True, "schema": {"type": "string"}} for header in headers
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"2XX": {"description": "Taken."}, "410": {"description": "Send nothing any more."}},
    }


def _answer(operation: Operation) -> Any:
    return None if operation.answer is Streamed else operation.answer


def _operation(operation: Operation, section: Section, schema_of: dict[Any, Any]) -> dict[str, Any]:
    summary, _, description = operation.about.partition("\n")
    said: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [section.name],
        "summary": summary.rstrip("."),
        "x-may": [scope.value for scope in operation.may],
        "security": [{"token": [scope.value]} for scope in operation.may if scope is not Scope.ANYBODY],
        "parameters": _parameters(operation),
        "responses": _responses(operation, schema_of),
    }
    if description.strip():
        said["description"] = description.strip()
    if operation.body is not None:
        said["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema_of[operation.body]}}}
    return said


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _ABOUT_VARIABLES[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in _PATH_VARIABLE.findall(operation.path)
    ]
    if operation.query is not None:
        _, components = msgspec.json.schema_components([operation.query], ref_template=_REFERENCE)
        form = components[operation.query.__name__]
        for name, schema in form["properties"].items():
            required = name in form.get("required", ())
            parameters.append({"name": name, "in": "query", "required": required, "schema": _plain(schema)})
    if operation.takes_key:
        about = "Any text, the same when the request is repeated, and no other time."
        schema = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"}
        parameters.append(
            {"name": "Idempotency-Key", "in": "header", "required": True, "description": about, "schema": schema}
        )
    if operation.answer is Streamed:
        schema = {"type": "string", "pattern": "^[0-9]{1,15}-[0-9]{1,15}-[0-9]{1,15}$"}
        parameters.append({"name": "Last-Event-ID", "in": "header", "required": False, "schema": schema})
    return parameters


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A query has no null: what is left out is left out."""
    choices = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(choices) == 1:
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
        return {**choices[0], **rest}
    return schema


def _responses(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done."}
    if operation.answer is Streamed:
        good["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    elif operation.answer is not None:
        good["content"] = {"application/json": {"schema": schema_of[operation.answer]}}
    responses = {str(operation.status): good}
    if operation.takes_key:
        responses["200"] = {**good, "description": "It was done before, under the same key."}
    for status in _PROBLEMS:
        if status not in ("413", "415") or operation.body is not None:
            responses[status] = {"$ref": f"#/components/responses/{status}"}
    return responses

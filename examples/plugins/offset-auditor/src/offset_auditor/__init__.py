"""Apps that see the whole report of a node and may do nothing, whatever their tickets and other plugins say."""

import logging

from offset_node.plugins.access import NodeAccess
from offset_node.plugins.hooks import hookimpl
from offset_node.plugins.values import App, Refusal
from offset_proto.errors import InvalidInput
from offset_proto.messages.app import AppRequest
from offset_proto.text import format_b64, parse_b64
from offset_proto.types import PublicKey

__all__ = ["Auditor"]

log = logging.getLogger("offset.plugins.auditor")


class Auditor:
    """The plugin."""

    hooks_version = 1

    def __init__(self) -> None:
        self._auditors: frozenset[PublicKey] = frozenset()

    @hookimpl
    def offset_startup(self, node: NodeAccess) -> None:
        """Read who audits."""
        keys = node.setting("apps", list, [])
        if not all(isinstance(key, str) for key in keys):
            raise InvalidInput("apps: expected a list of keys")
        self._auditors = frozenset(parse_b64(PublicKey, key) for key in keys)

    @hookimpl
    def offset_judge_request(self, app: App, request: AppRequest) -> Refusal | None:
        """Nothing is granted to an auditor."""
        return Refusal("an auditor may do nothing") if app.public_key in self._auditors else None

    @hookimpl
    def offset_app_connected(self, app: App) -> None:
        """Whoever looks is seen."""
        if app.public_key in self._auditors:
            log.warning("auditor %s connected", format_b64(app.public_key))

    @hookimpl
    def offset_app_disconnected(self, app: App) -> None:
        """And when it leaves."""
        if app.public_key in self._auditors:
            log.warning("auditor %s left", format_b64(app.public_key))

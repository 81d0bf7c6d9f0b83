"""A network whose nodes are asked for their friends by this process, and not by a program for each question."""

import asyncio
import contextlib
import io
import json
from typing import Any

from interop.network import Network
from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import open_node
from offset_ctrl.programs.stctrl import info
from offset_proto.files import IDENTITY, TICKET

__all__ = ["WatchedNetwork"]

ANSWER_SECONDS = 20.0


class WatchedNetwork(Network):
    """A network that is asked very often: waiting costs no start of a program, which two cores would notice."""

    def friends(self, node: str) -> dict[str, Any]:
        """
        Friends of a node by name, as our ``info friends --json`` gives them, whoever plays the node.

        Raises:
            OffsetError: The node can not be reached.
            TimeoutError: It does not answer.
        """
        listed = json.loads(asyncio.run(asyncio.wait_for(self._list_friends(node), ANSWER_SECONDS)))
        return {friend["name"]: friend for friend in listed}

    async def _list_friends(self, node: str) -> str:
        app = Identity(IDENTITY.load(self.path(f"{node}-app.ident")).private_key)
        ticket = TICKET.load(self.path(f"{node}.ticket"))
        async with open_node(ticket.address, ticket.public_key, app, Ticker()) as connection:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                await info.friends(connection, as_json=True)
        return printed.getvalue()

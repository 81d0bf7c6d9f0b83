"""
The links that a node keeps up: to friends through relays, and to an index server.

===============  ===========================================================================================
`token_watch`    engine: notices friends that do not return the token
`unheard_watch`  engine: notices friends that have to speak first, and do not
`channeler`      engine: at which relays to listen, which friends to dial, one live link for each friend
`friends`        shell: performs on sockets what the channeler decides, and tells it what became of it
`index`          shell: the index client of `offset_index.client` on a socket
===============  ===========================================================================================

A shell is given its engine, and a function that takes what the engine says. What of that concerns links comes back to
the shell's ``perform``; the rest concerns other parts of the node, of which this room knows nothing.

The room may import `offset_node.pauses`, `offset_node.tasks` and `offset_node.state`, the funder's state and what it
says to friends, the clients of relay and index, crypto and proto. `offset_node.engine` uses the engines;
`offset_node.node` uses the shells; the simulation has shells of its own on simulated links.
"""

"""
The links that a node keeps up: to friends through relays, and to an index server.

=============  ===========================================================================================
`channeler`    engine: at which relays to listen, which friends to dial, one live link for each friend
`friends`      shell: performs what the channeler decides, on sockets
`index`        shell: the index client of `offset_index.client` on a socket
=============  ===========================================================================================

May import: `offset_node.pauses`, the clients of relay and index, crypto and proto. Used by: `node` and the
simulation.
"""

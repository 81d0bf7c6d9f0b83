"""
The index of Offset: who can receive how much from whom, and routes through it.

=================================  ==============================================================
`graph`, `search`                  declared capacities; routes
`hash_clock`, `ratchet`            proofs of freshness; order of a node's updates
`server`, `client`                 state engines: the index server; the node's side (`rotation`)
`service`, `cli`                   sockets; the program stindex
=================================  ==============================================================
"""

__version__ = "0.2.0"

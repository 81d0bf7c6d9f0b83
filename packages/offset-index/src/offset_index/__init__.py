"""
The index of Offset: who can receive how much from whom, and routes through it.

=================================  ==============================================================
`graph`, `currency_graph`          declared capacities, of all currencies and of one
`search`                           routes over them
`hash_clock`, `ratchet`            proofs of freshness; order of a node's updates
`server`, `client`                 state engines: the index server; the node's side (`rotation`)
`trusted`                          the directory of trusted index servers
`service`, `cli`                   sockets; the program stindex
=================================  ==============================================================
"""

__version__ = "0.2.0"

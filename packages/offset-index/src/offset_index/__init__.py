"""
The index of Offset: who can receive how much from whom, and routes through it.

=================================  ==============================================================
`graph`, `currency_graph`          declared capacities, of all currencies and of one
`search`                           routes over them: the shortest (`shortest`), the `cheapest`
`several`                          routes that carry together what no single one does
`residual`, `cheapest_flow`        what hops carry beside a flow; the cheapest ways for more of it
`decomposition`                    a flow taken apart into routes
`hash_clock`, `ratchet`            proofs of freshness; order of a node's updates
`server`, `client`                 state engines: the index server; the node's side (`rotation`)
`trusted`                          the directory of trusted index servers
`service`, `cli`                   sockets; the program stindex
`metrics`                          its figures for Prometheus
=================================  ==============================================================
"""

__version__ = "0.2.0"

"""
Whole networks in one loop, without sockets, disks or clocks: nodes, apps, relays and index servers, under faults.

================  ====================================================================================
module            what is in it
================  ====================================================================================
`world`           virtual ticks, links that delay, lose and break, hosts that are up or down
`servers`         relays and index servers: their engines on such links
`links`           the links of a node: what the shells of `offset_node.links` do, on such links
`nodes`           a node: the engine of `offset_node.engine`, and what it stored
`malice`          a node that repeats, reorders, withholds or alters what it says to friends
`wallets`         payments, driven by apps that ask again whenever they get no answer
`monitor`         the invariants of spec 04 §11, after each step
`plan`            topologies, faults, the size of a run, its summary
`scenario`        a run from its seed to its summary
================  ====================================================================================

``python -m offset_node.simulation`` runs one. All randomness comes from the seed, so that a seed replays a run.

The room may import `offset_node.engine` and what that may import, the engines of relay and index servers, crypto and
proto; no shell. Only tests and its own program use it.
"""

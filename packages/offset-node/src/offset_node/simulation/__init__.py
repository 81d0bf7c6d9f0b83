"""
Whole networks in one loop, without sockets, disks or clocks: nodes, apps, relays and index servers.

================  ===============================================================================
module            what is in it
================  ===============================================================================
`world`           virtual ticks, links that delay, lose and break, hosts that are up or down
`servers`         relays and index servers: their engines on such links
`nodes`           a node: funder, channeler, app server and index client, and what it stored
`malice`          a node that repeats, reorders, withholds or alters what it says to friends
`wallets`         payments, driven by apps that ask again whenever they get no answer
`monitor`         the invariants of spec 04 §11, after each step
`scenario`        topologies, faults, a run from its seed to its summary
================  ===============================================================================

``python -m offset_node.simulation`` runs one. All randomness comes from the seed, so a seed replays a run.
"""

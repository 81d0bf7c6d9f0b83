"""
The apps of a node: who is let in, what each may ask for, what each is told.

===============  =========================================================================================
`server`         engine: who asked for what, and who is told what
`outputs`        what the engine says
`payments_seen`  engine: what an app of limited scope is told of payments
`requests`       what the protocol has to say of each kind of request
`connections`    the connections of apps, their greeting, and the requests that plugins judge
`tickets`        shell: the directory of app tickets, whose changes take effect without a restart
===============  =========================================================================================

The room may import `offset_node.plugins` and `offset_node.pauses`, the funder's events and reports, crypto and proto.
`offset_node.engine` uses `server`; `offset_node.node` uses the shells; the simulation has one app in each node, and no
connection to it.
"""

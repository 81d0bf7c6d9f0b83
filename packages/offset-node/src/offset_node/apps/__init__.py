"""
The apps of a node: who is let in, what each may ask for, what each is told.

===============  =========================================================================================
`server`         engine: who asked what, who is told what
`connections`    shell: the connections of apps, their greeting, and the requests that plugins judge
`tickets`        shell: the directory of app tickets; changes take effect without a restart
===============  =========================================================================================

May import: `offset_node.plugins`, `offset_node.pauses`, the funder's events, crypto and proto. Used by: `node` and
the simulation.
"""

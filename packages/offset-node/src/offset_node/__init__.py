"""
The node of Offset.

==========================  ===================================================================
`state`                     all that a node remembers, and every change of it
`pauses`, `tasks`           connections that are not read from for a while, and why; the tasks of a node
`telling`                   what a node tells in its log
`database`                  where the state is kept: SQLite, or the original's file
`plugins`                   the owner's rules: hooks, what they are given, how they are run
`links`                     the links to friends, relays and an index server
`waiting`                   what is open and since when; which invoices have come to their end
`apps`                      apps: who is let in, what each may ask for, what each is told
`counts`                    what a node counts while it runs
`effects`                   what a node does to the outside, and in which order
`batch`, `lasting`          what is handled together, and what comes of it; what of that is to be stored
`engine`                    the node as a pure engine: what is handled, stored and shown, in which order
`node`                      the engine on sockets and a database
`embedded`                  a node inside another program
`metrics`, `cli`            figures for Prometheus; the program stnode
`simulation`                whole networks of nodes in one loop, under faults
==========================  ===================================================================

Imports go from the top of this list to its bottom, never up. The remaining modules are names of 0.1.
"""

__version__ = "0.2.0"

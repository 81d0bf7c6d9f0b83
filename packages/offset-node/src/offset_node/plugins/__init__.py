"""
The owner's rules: what plugins may answer, what they are given, and how they are run.

================  ===========================================================================================
`hooks`           the signatures of all hooks (pluggy)
`values`          what questions and answers are made of: `App`, `Forwarding`, `Grant`, `Refusal`, the verdict
`scope`           the part of a report that an app gets to see
`access`          what a plugin is given when the node starts: its settings and its store
`ticket`          the plugin that every node has: the four flags of an app's ticket
`judging`         messages that wait until plugins have judged them
`loading`         which plugins are installed, which are switched off, and their settings
`durable_events`  how events that a plugin must not miss are stored
`worker`          shell: one plugin in a thread of its own
`host`            shell: all plugins of a node at work
`testing`         for tests of plugins: what a plugin gets from a node, without a node
================  ===========================================================================================

Plugins import `hooks`, `values`, `scope`, `access`, `ticket` and, in their tests, `testing`; the rest is the node's.

May import: `offset_node.state`, `offset_node.pauses`, the funder, crypto and proto. Used by: `apps`, `engine`, `node`,
`embedded`, `metrics`, the simulation (for values alone) and the program stnode.
"""

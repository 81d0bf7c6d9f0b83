"""
An app's connection to its node.

============  ============================================================================================
`greeting`    what a node says first, and what after that; pure
`announced`   which requests need an extension that the node has announced; pure
`errors`      what can go wrong between the two
`addresses`   shell: the first of several addresses at which the node greets
`client`      shell: one connection, with all messages of the app protocol
`history`     what a node says of its history over one connection
`session`     shell: a connection that is made again when it is lost
`posting`     shell: one request over HTTP to somebody else's program
============  ============================================================================================

May import: `offset_ctrl.rules`, crypto and proto. Used by: `sdk`, `web` and `programs`.
"""

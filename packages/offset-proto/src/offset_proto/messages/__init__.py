"""
Every message of the protocol as an immutable typed class, one module per schema.

==================  =======================================================================
`payment`           values that several protocols share
`channel`           the secure channel
`keepalive`         signs of life on a link
`relay`             between a node and a relay
`friend`            between two friends
`index`             between nodes and index servers
`app`, `report`     between an app and its node, and what the app sees of it
`extensions`        what our apps and nodes say to each other beyond the original
`history`           what changed the balances with friends: an extension, too
==================  =======================================================================

Fields stand in the order of the schema. `offset_proto.layout` says how the classes map onto it.
"""

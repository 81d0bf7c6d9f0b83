"""
Every message of the protocol as an immutable typed class, one module per schema.

Fields stand in the order of the schema. `offset_proto.layout` says how the classes map onto it.
"""

"""
Relays of Offset: nodes reach each other without open ports of their own.

==================  =======================================================
`server`            state engine of the relay: listeners, half tunnels
`client`            state engine of the node's listen side
`service`, `cli`    sockets; the program strelay
`metrics`           its figures for Prometheus
==================  =======================================================
"""

__version__ = "0.2.0"

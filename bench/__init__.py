"""Figures of a whole network, measured from outside by the protocols that every implementation speaks."""

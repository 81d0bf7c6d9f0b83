"""The node of Offset."""
__version__ = "0.1.0"

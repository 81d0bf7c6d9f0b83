"""Apps of Offset: SDK and command-line programs."""
__version__ = "0.1.0"

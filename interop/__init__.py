"""Proof that this implementation speaks the protocol of the original: vectors, networks of processes."""

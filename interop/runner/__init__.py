"""The runner of recorded values: how they are read, carried out and compared."""

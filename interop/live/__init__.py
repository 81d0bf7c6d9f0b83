"""Networks in which the original's programs and ours play together; runs where OFFSET_RUST_BIN is set."""

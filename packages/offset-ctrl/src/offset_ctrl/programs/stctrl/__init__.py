"""The program stctrl: one module for each group of commands. Spec 09 §5-§9."""

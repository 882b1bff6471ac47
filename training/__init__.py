"""Training of motion modules."""

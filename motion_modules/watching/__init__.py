"""Measurements of motion modules while they run."""

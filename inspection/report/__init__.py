"""Sampling Report: numbers, attention and time of motion modules during a run."""

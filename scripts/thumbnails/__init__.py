"""Thumbnails of the templates: a real result with Loom Mini, and the graph."""

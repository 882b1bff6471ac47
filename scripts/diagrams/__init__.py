"""Diagrams of the guide: what is measured, and how it is drawn."""

"""Drawing: plots, heat maps, text."""

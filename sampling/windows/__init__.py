"""Context windows: clips longer than a motion model can see at once."""

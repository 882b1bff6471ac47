"""Drawing for all pictures of the pack: one style, figures of panels, and the panels that several of them use."""

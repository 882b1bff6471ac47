"""Clips from pictures: placed on frames, and given to a motion model by the method that it was trained for."""

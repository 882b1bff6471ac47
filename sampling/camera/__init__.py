"""Camera paths: where the camera of each frame is, as keyframes, as published pose texts, and as rays."""

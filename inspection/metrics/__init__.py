"""Video Metrics: how steady a finished clip is."""

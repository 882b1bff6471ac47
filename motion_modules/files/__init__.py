"""Motion model files: read, recognised, written, and models made new or from parts of others."""

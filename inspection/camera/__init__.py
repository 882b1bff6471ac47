"""Pictures of camera paths."""

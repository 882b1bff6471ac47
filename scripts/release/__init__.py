"""Archive for the registry, and the checks before a release."""

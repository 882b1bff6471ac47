"""Reports on sampling, metrics of finished videos, pictures of both."""

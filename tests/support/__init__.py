"""Models, files, servers and pages that several tests share."""

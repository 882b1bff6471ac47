"""What a report sees of motion modules while they run."""

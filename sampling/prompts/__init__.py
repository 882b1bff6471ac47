"""Prompts that change from frame to frame."""

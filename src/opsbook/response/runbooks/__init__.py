"""Runbooks that run: durable, approved, undone when they fail."""

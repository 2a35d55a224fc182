"""Traces: search and waterfall, at the terminal, over the API and in the console."""

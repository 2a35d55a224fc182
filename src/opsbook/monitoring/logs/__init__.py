"""Logs: one search over what instances wrote and what programs sent; at the terminal, over the API, in the console."""

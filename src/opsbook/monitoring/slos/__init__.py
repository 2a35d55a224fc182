"""Objectives of services: exact counts of what was good, and what is left of what may go wrong."""

"""Dashboards: what every service, environment and host has by itself, and those of the handbook."""

"""Drills: a runbook is tried on the real fault, in a scratch environment that ends with it."""

"""Incidents: from the first alert to what was learnt."""

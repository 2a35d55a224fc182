"""Incidents: from the first alert to the lesson."""

"""What remains of an incident: its post-mortem in the handbook, its lesson for a runbook, and what customers are told."""

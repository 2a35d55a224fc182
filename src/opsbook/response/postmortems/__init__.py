"""What remains of an incident: its post-mortem in the handbook, a lesson for a runbook, what customers are told."""

"""Pages people about an incident, one after the other, until somebody answers."""

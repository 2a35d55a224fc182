"""Rules: what is computed from the measured series again and again, and which of it wakes somebody."""

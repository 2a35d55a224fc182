"""What the benches of alerting compare with, and what receives from both."""

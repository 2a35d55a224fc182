"""The ways by which messages leave: one module for each kind of channel."""

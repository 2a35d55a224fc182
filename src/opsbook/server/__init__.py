"""The server: HTTP API, background loops; the composition root."""

"""A load generator that counts strictly: whatever a user might notice of a deployment is a failure.

It runs in its own process (``python -m opsbook.demo.load``), speaks HTTP/1.1, WebSocket and a line protocol
over connections that it keeps, and prints a JSON line of figures every second. Loopback addresses only.
"""

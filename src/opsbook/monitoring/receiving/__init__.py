"""The doors for what others push: remote write and OTLP over HTTP."""

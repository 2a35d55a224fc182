"""What other programs push: Prometheus' remote write, and OTLP's metrics, logs and traces."""

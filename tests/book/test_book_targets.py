"""What is scraped besides the services, and the settings of monitoring, as they are read."""

from __future__ import annotations

from opsbook.book import TextFiles, load

COVER = b"""name: shop
monitoring:
  metrics: {url: "https://prometheus.example.com/tenant", token: "{secret:prometheus}", ca: ca.pem, timeout: 5s}
  retention: 30d
  memory: 512Mi
  max_series: 50000
"""
TARGETS = b"""targets:
  - name: postgres
    addresses: db.example.com:9187
    labels: {service: database, environment: production}
  - name: nodes
    files: [targets/*.json, /etc/opsbook/nodes.yml]
    scheme: https
    insecure: true
    user: scraper
    password: "{secret:nodes}"
    path: /probe?module=a
    interval: 1m
    timeout: 20s
    alert: false
"""


def test_targets_and_settings() -> None:
    """Every key is read; what is left out has its default."""
    book = load(TextFiles({"opsbook.yaml": COVER, "monitoring/targets.yaml": TARGETS}))
    postgres, nodes = book.targets
    assert ("postgres", ("db.example.com:9187",), "/metrics", 15.0, "http", True) == (
        postgres.name, postgres.addresses, postgres.path, postgres.interval, postgres.scheme, postgres.alert
    )  # fmt: skip
    assert {"service": "database", "environment": "production"} == postgres.labels
    assert (("targets/*.json", "/etc/opsbook/nodes.yml"), True, "scraper", "{secret:nodes}", 60.0, 20.0) == (
        nodes.files, nodes.insecure, nodes.user, nodes.password, nodes.interval, nodes.timeout
    )  # fmt: skip
    metrics = book.monitoring.metrics
    assert metrics is not None
    assert ("https://prometheus.example.com/tenant", "{secret:prometheus}", "ca.pem", 5.0) == (
        metrics.url, metrics.token, metrics.ca, metrics.timeout
    )  # fmt: skip
    assert (30 * 86400.0, 400 * 86400.0, 512 * 1024 * 1024, 50_000) == (
        book.monitoring.retention, book.monitoring.long_retention, book.monitoring.memory, book.monitoring.max_series
    )  # fmt: skip


def test_a_metrics_server_in_short() -> None:
    """A URL alone is enough; without one opsbook's own engine is used."""
    book = load(TextFiles({"opsbook.yaml": b"name: shop\nmonitoring: {metrics: 'http://127.0.0.1:9090'}\n"}))
    assert "http://127.0.0.1:9090" == (book.monitoring.metrics.url if book.monitoring.metrics else "")
    assert load(TextFiles({"opsbook.yaml": b"name: shop\nmonitoring:\n"})).monitoring.metrics is None
    assert () == book.targets

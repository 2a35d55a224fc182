"""Releases, strategies, rollback, scaling: how a service gets from one version to another without losing a request."""

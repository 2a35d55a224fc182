"""Diagnosis: every read-only look that applies to a service, suspects with evidence, the page, the next command."""

"""Traces: spans that programs send, kept and found again."""

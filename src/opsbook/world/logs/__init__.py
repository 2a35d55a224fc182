"""What programs write and send: log records, kept and searched."""

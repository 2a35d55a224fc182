"""What is scraped besides what opsbook runs."""

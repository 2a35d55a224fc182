"""Things that opsbook does not run: whether they are up, since when, and what was seen of them."""

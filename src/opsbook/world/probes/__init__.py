"""Asks things that opsbook does not run whether they are well."""

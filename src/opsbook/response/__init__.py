"""What is done when something is wrong: runbooks, who is on call, incidents."""

"""Who may do what: identities, roles, tokens, sessions."""

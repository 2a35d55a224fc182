"""Who may do what: identities, roles, tokens, sessions.

`plan` decides and knows nobody; `room.Security` knows the handbook's roles and the journal's tokens and sessions;
`api.requires` stands before every route.
"""

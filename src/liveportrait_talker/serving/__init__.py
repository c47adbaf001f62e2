"""Live sessions for browsers and other programs, and what serves pages: access, accounts, connections."""

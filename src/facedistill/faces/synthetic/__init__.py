"""Procedural faces: identities that nobody has, drawn from continuous traits."""

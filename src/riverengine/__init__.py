"""River runtime for Python."""

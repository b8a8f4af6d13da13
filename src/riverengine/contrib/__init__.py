"""Plugins for common needs, the counterparts of Go's rivercontrib."""

"""Durable workflows on River."""

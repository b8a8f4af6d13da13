"""``make demo``: both workflows through a real worker, on an embedded PostgreSQL."""

"""Long-lived services of a client: one file each."""

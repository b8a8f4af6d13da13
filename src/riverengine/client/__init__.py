"""The client: inserts, administers and works jobs."""

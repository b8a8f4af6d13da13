"""Planning of inserts: pure functions from args, options and an instant to rows."""

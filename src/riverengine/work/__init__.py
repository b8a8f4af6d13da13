"""What users write: args, workers, retry policies, middleware."""

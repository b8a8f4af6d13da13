"""The only code that executes SQL: one typed function per named statement of ``sql/``."""

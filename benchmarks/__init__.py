"""Programs that measure riverengine side by side with its peers; see ``docs/performance.md``."""

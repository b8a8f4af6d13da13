"""River's conformance scenarios, played by our own runner with Go and Python adapters."""

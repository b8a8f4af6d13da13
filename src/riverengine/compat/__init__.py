"""Other libraries' interfaces on this engine, for their users to move over."""

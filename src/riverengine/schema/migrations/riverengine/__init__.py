"""Tables of ours beside River's; nothing of the main line needs them."""

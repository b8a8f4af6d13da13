"""Pure data of River's protocol: rows, events, errors and control signals."""

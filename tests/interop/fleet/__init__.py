"""Go and Python clients as processes on one database, and a checker of what they did."""

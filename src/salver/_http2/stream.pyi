"""One stream of a session: nothing of it is seen from Python."""

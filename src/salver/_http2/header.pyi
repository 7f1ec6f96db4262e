"""Header fields on their way through a session: nothing of it is seen from Python."""

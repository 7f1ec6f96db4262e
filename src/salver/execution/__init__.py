"""How a request is run: on the loop, or on worker threads."""

"""Models looked at, and run, without a server: where their versions lie and how one is opened."""

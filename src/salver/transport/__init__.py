"""Sockets and protocols; the only place that knows bytes and status numbers."""

"""The binding of libnghttp2: one HTTP/2 server session without I/O."""

from salver._http2.session import Session, SessionError

__all__ = ["Session", "SessionError"]

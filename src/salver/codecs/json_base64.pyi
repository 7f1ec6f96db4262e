"""Base64 in JSON: `{"b64": "..."}` stands for bytes, as TensorFlow Serving takes it."""

def unescape_base64(text: bytes) -> bytes | None:
    """Decode standard base64; None if it is none.

    White space is skipped, the padding may be left out, and `.` pads as `=` does.
    """

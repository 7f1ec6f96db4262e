"""Numbers of a JSON text."""

from salver.codecs.json_cursor cimport Cursor, Kind, Slot


cdef Kind scan_number(Cursor* cursor, Slot* out) noexcept nogil

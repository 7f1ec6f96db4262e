"""Strings of a JSON text."""

from salver.codecs.json_cursor cimport Cursor


cdef bint skip_string(Cursor* cursor, bint* escaped) noexcept
cdef bytes scan_string(Cursor* cursor)
cdef bytes decoded(Cursor* cursor, const char* at, const char* end)

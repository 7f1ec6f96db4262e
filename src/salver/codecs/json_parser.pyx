# distutils: language = c++
# distutils: extra_compile_args = -std=c++17 -O3
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The JSON grammar of TensorFlow Serving: bytes to nodes, in one pass, without recursion.

An object becomes a tuple of names and values in turn, duplicates kept; an array
a list; a string bytes; and a regular nest of numbers one compact `Numbers`. The
grammar is that of rapidjson 1.1.0, its iterative parser with NaN and infinities
allowed, which stops after the first value. Each failure is the one that its
state machine reports, at the same offset.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_CheckExact
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from libc.stdint cimport uint64_t
from libc.string cimport memcmp
from libcpp.vector cimport vector

from salver.codecs.json_cursor cimport (
    ARRAY_COMMA, BROKEN, COLON, EMPTY, ESCAPE, EXPONENT, FRACTION, HEX, INTEGER, NAME, NONE,
    OBJECT_COMMA, QUOTE, REAL, SURROGATE, TOO_BIG, VALUE, Cursor, Kind, Slot, fail, past_blanks,
    past_word)
from salver.codecs.json_number cimport scan_number
from salver.codecs.json_numbers cimport scan_numbers
from salver.codecs.json_string cimport decoded, scan_string, skip_string

from salver.errors import InvalidArgument

_TEXTS = {
    EMPTY: "The document is empty.",
    NAME: "Missing a name for object member.",
    COLON: "Missing a colon after a name of object member.",
    OBJECT_COMMA: "Missing a comma or '}' after an object member.",
    ARRAY_COMMA: "Missing a comma or ']' after an array element.",
    VALUE: "Invalid value.",
    HEX: "Incorrect hex digit after \\u escape in string.",
    SURROGATE: "The surrogate pair in string is invalid.",
    ESCAPE: "Invalid escape character in string.",
    QUOTE: "Missing a closing quotation mark in string.",
    TOO_BIG: "Number too big to be stored in double.",
    FRACTION: "Miss fraction part in number.",
    EXPONENT: "Miss exponent in number.",
}


cdef object scan_word(Cursor* cursor):
    cdef const char* at = cursor.at
    cdef char first = at[0]
    cdef bint whole
    if first == b"t":
        whole = past_word(&at, b"true")
    elif first == b"f":
        whole = past_word(&at, b"false")
    else:
        whole = past_word(&at, b"null")
    if not whole:
        fail(cursor, VALUE, at)
        return None
    cursor.at = at
    return None if first == b"n" else first == b"t"


cdef object scan_leaf(Cursor* cursor, bint build):
    """A string, word or number; anything on a failure."""
    cdef char first = cursor.at[0]
    cdef bint escaped
    cdef Slot slot
    cdef Kind kind
    if first == b'"':
        if build:
            return scan_string(cursor)
        skip_string(cursor, &escaped)
        return None
    if first == b"t" or first == b"f" or first == b"n":
        return scan_word(cursor)
    kind = scan_number(cursor, &slot)
    if not build or kind == BROKEN:
        return None
    if kind == INTEGER:
        return slot.integer
    return slot.real if kind == REAL else <uint64_t>slot.integer


cdef inline bint past_colon(Cursor* cursor) noexcept:
    cursor.at = past_blanks(cursor.at)
    if cursor.at[0] != b":":
        fail(cursor, COLON, cursor.at)
        return False
    cursor.at = past_blanks(cursor.at + 1)
    return True


cdef inline bint past_name(Cursor* cursor, bint build, vector[PyObject*]* values) except -1:
    """A member's name, kept in `values`, and the colon after it; False on a failure."""
    cdef bint escaped
    cdef bytes name
    if cursor.at[0] != b'"':
        fail(cursor, NAME, cursor.at)
        return False
    if build:
        name = scan_string(cursor)
        if name is None:
            return False
        Py_INCREF(name)
        values.push_back(<PyObject*>name)
    elif not skip_string(cursor, &escaped):
        return False
    return past_colon(cursor)


cdef object closed(vector[PyObject*]* values, Py_ssize_t start, bint is_object):
    """Make one list or tuple of the values from `start` on, which it takes over."""
    cdef Py_ssize_t count = <Py_ssize_t>values.size() - start
    cdef Py_ssize_t index
    cdef object container
    # The macros steal a reference, and Cython adds one for its own sake: even.
    if is_object:
        container = PyTuple_New(count)
        for index in range(count):
            PyTuple_SET_ITEM(container, index, <object>values[0][start + index])
    else:
        container = PyList_New(count)
        for index in range(count):
            PyList_SET_ITEM(container, index, <object>values[0][start + index])
    values.resize(start)
    return container


cdef object scan_value(Cursor* cursor, bint build):
    """The value at the cursor, blanks before it skipped; see `cursor.failure`.

    Without `build` it is only checked, and nothing is made.
    """
    cdef vector[PyObject*] values
    cdef vector[Py_ssize_t] frames  # first index in `values`, times two, plus the kind of frame
    cdef object value = None
    cdef Py_ssize_t frame
    cdef char first
    try:
        while True:
            first = cursor.at[0]
            if first == b"[" or first == b"{":
                value = None
                if first == b"[" and cursor.compact and build and cursor.at >= cursor.tried:
                    value = scan_numbers(cursor)
                if value is None:
                    cursor.at = past_blanks(cursor.at + 1)
                    frames.push_back(<Py_ssize_t>values.size() * 2 + (first == b"{"))
                    if first == b"[":
                        if cursor.at[0] != b"]":
                            continue
                    elif cursor.at[0] != b"}":
                        if not past_name(cursor, build, &values):
                            return None
                        continue
                    cursor.at += 1
                    value = closed(&values, values.size(), first == b"{") if build else None
                    frames.pop_back()
            elif first == b"," or first == b":" or first == b"]" or first == b"}" or first == 0:
                fail(cursor, VALUE, cursor.at)
                return None
            else:
                value = scan_leaf(cursor, build)
                if cursor.failure:
                    return None
            while True:
                if frames.empty():
                    return value
                if build:
                    Py_INCREF(value)
                    values.push_back(<PyObject*>value)
                frame = frames.back()
                cursor.at = past_blanks(cursor.at)
                if cursor.at[0] == b",":
                    cursor.at = past_blanks(cursor.at + 1)
                    if frame & 1:
                        if not past_name(cursor, build, &values):
                            return None
                    elif cursor.at[0] == b"]":
                        fail(cursor, VALUE, cursor.at)
                        return None
                    break
                if frame & 1:
                    if cursor.at[0] != b"}":
                        fail(cursor, OBJECT_COMMA, cursor.at)
                        return None
                elif cursor.at[0] != b"]":
                    fail(cursor, ARRAY_COMMA, cursor.at)
                    return None
                cursor.at += 1
                frames.pop_back()
                value = closed(&values, frame >> 1, frame & 1) if build else None
    finally:
        while not values.empty():
            Py_XDECREF(values.back())
            values.pop_back()


cdef class _Absent:
    def __repr__(self):
        return "ABSENT"


ABSENT = _Absent()


cdef int start(Cursor* cursor, object body, bint compact, bint exact) except -1:
    # Both kinds have a NUL byte behind their last.
    if PyByteArray_CheckExact(body):
        cursor.begin = PyByteArray_AS_STRING(body)
    elif PyBytes_CheckExact(body):
        cursor.begin = PyBytes_AS_STRING(body)
    else:
        raise TypeError(f"JSON is read from bytes, not from {type(body).__name__}")
    cursor.at = cursor.tried = cursor.begin
    cursor.end = cursor.begin + len(body)
    cursor.failure = NONE
    cursor.offset = 0
    cursor.compact = compact
    cursor.exact = exact
    # The byte order mark is dropped byte by byte, as the original's stream does.
    cursor.at += cursor.at[0] == b"\xEF"
    cursor.at += cursor.at[0] == b"\xBB"
    cursor.at += cursor.at[0] == b"\xBF"
    cursor.at = past_blanks(cursor.at)
    return 0


cdef object failed(Cursor* cursor):
    return InvalidArgument(f"JSON Parse error: {_TEXTS[cursor.failure]} at offset: {cursor.offset}")


cdef int check_start(Cursor* cursor) except -1:
    cdef char first = cursor.at[0]
    if cursor.begin == cursor.end:
        raise InvalidArgument("JSON Parse error: The document is empty")
    if first == 0 or first == b"]" or first == b"}" or first == b"," or first == b":":
        fail(cursor, EMPTY, cursor.at)
        raise failed(cursor)
    return 0


def parse(body not None):
    cdef Cursor cursor
    start(&cursor, body, compact=False, exact=True)
    check_start(&cursor)
    value = scan_value(&cursor, build=True)
    if cursor.failure:
        raise failed(&cursor)
    return value


cdef Py_ssize_t place_of(Cursor* cursor, tuple names) except -2:
    """Pass a top-level name; its place among `names`, -1 for none of them or a failure."""
    cdef const char* first = cursor.at + 1
    cdef bint escaped = False
    cdef Py_ssize_t length, index
    cdef bytes name
    if cursor.at[0] != b'"':
        fail(cursor, NAME, cursor.at)
        return -1
    if not skip_string(cursor, &escaped):
        return -1
    length = cursor.at - 1 - first
    if escaped:
        decoded_name = decoded(cursor, first, cursor.at - 1)
        return names.index(decoded_name) if decoded_name in names else -1
    for index in range(len(names)):
        name = <bytes>names[index]
        if PyBytes_GET_SIZE(name) == length and not memcmp(
                PyBytes_AS_STRING(name), first, length):
            return index
    return -1


def parse_members(body not None, tuple names not None):
    cdef Cursor cursor
    cdef Py_ssize_t place
    cdef bint build
    cdef list members = [ABSENT] * len(names)
    start(&cursor, body, compact=True, exact=False)
    check_start(&cursor)
    if cursor.at[0] != b"{":
        scan_value(&cursor, build=False)
        if cursor.failure:
            raise failed(&cursor)
        return None
    cursor.at = past_blanks(cursor.at + 1)
    if cursor.at[0] == b"}":
        return members
    while True:
        place = place_of(&cursor, names)
        if cursor.failure or not past_colon(&cursor):
            raise failed(&cursor)
        build = place >= 0 and members[place] is ABSENT
        value = scan_value(&cursor, build)
        if cursor.failure:
            raise failed(&cursor)
        if build:
            members[place] = value
        cursor.at = past_blanks(cursor.at)
        if cursor.at[0] == b"}":
            return members
        if cursor.at[0] != b",":
            fail(&cursor, OBJECT_COMMA, cursor.at)
            raise failed(&cursor)
        cursor.at = past_blanks(cursor.at + 1)

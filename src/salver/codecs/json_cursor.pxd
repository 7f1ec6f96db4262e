"""Where a JSON text is being read, and what is wrong with it."""

from libc.stdint cimport int64_t, uint8_t

cdef enum Failure:
    NONE, EMPTY, NAME, COLON, OBJECT_COMMA, ARRAY_COMMA, VALUE, HEX, SURROGATE, ESCAPE, QUOTE
    TOO_BIG, FRACTION, EXPONENT


cdef enum Kind:
    BROKEN      # see Cursor.failure
    INTEGER     # fits int64
    UNSIGNED    # beyond int64, fits uint64
    REAL


cdef union Slot:
    int64_t integer
    double real


cdef struct Cursor:
    # The text ends with a NUL byte, as every bytes object does: no test for the
    # end is needed, and a NUL inside the text ends it, as in the original.
    const char* at
    const char* begin
    const char* end
    const char* tried  # no array of numbers is sought before this byte again
    Failure failure
    Py_ssize_t offset
    bint compact
    bint exact


cdef inline int fail(Cursor* cursor, Failure failure, const char* at) noexcept nogil:
    cursor.failure = failure
    cursor.offset = at - cursor.begin
    return 0


cdef inline const char* past_blanks(const char* at) noexcept nogil:
    while at[0] == b" " or at[0] == b"\n" or at[0] == b"\r" or at[0] == b"\t":
        at += 1
    return at


cdef inline uint8_t digit_of(char character) noexcept nogil:
    return <uint8_t>(character - 48)


cdef inline bint past_word(const char** at, const char* word) noexcept nogil:
    """Move past as much of `word` as is there; True if it is all there."""
    while word[0] and at[0][0] == word[0]:
        at[0] += 1
        word += 1
    return word[0] == 0

# distutils: language = c++
# distutils: extra_compile_args = -std=c++17 -O3
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Arrays of numbers in a JSON text, which are most of most bodies: one block of memory each.

The place in the text is a local variable, which the compiler keeps in a register; the cursor is only
written to. Read from memory, each step would wait for the one before.
"""

from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from salver.codecs.json_cursor cimport INTEGER, NONE, REAL, Cursor, Kind, Slot, past_blanks
from salver.codecs.json_number cimport past_fraction, scan_number

cdef enum:
    # From here on, the unused end of a block of numbers is worth giving back.
    LARGE_NUMBERS = 4096
    # A text of this length takes so long that letting go of the interpreter lock pays.
    LONG_BYTES = 65536


cdef class Numbers:
    def __dealloc__(self):
        free(self.slots)


cdef struct Block:
    Slot* slots
    Py_ssize_t size
    Py_ssize_t capacity
    bint has_real
    bint has_integer


cdef bint grow(Block* block, Py_ssize_t rest) noexcept nogil:
    """Make room for more numbers; `rest` is how many bytes of text are left."""
    cdef Slot* grown
    if block.capacity < LARGE_NUMBERS:
        block.capacity = block.capacity * 2 if block.capacity else 16
    else:
        # A float with six digits takes eight bytes or more: mostly this is enough for them all.
        block.capacity = block.capacity * 2 + rest // 8
    grown = <Slot*>realloc(block.slots, block.capacity * sizeof(Slot))
    if grown is NULL:
        return False
    block.slots = grown
    return True


cdef void make_real(Block* block) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(block.size):
        block.slots[index].real = <double>block.slots[index].integer
    block.has_real = True


cdef inline bint push_real(Block* block, double number, Py_ssize_t rest) noexcept nogil:
    if block.size == block.capacity and not grow(block, rest):
        return False
    if not block.has_real:
        make_real(block)
    block.slots[block.size].real = number
    block.size += 1
    return True


cdef bint push_scanned(Cursor* cursor, Block* block) noexcept nogil:
    """Read and keep any number; False if there is none, or a large one, or no memory."""
    cdef Slot slot
    cdef Kind kind = scan_number(cursor, &slot)
    cdef Py_ssize_t rest = cursor.end - cursor.at
    if kind == REAL:
        return push_real(block, slot.real, rest)
    if kind != INTEGER or (block.size == block.capacity and not grow(block, rest)):
        return False
    block.has_integer = True
    if block.has_real:
        slot.real = <double>slot.integer
    block.slots[block.size] = slot
    block.size += 1
    return True


cdef bint scan_block(
    Cursor* cursor, Block* block, Py_ssize_t* shape, int* found_rank
) noexcept nogil:
    """Read a regular nest of numbers; False, the cursor somewhere inside, if it is not one."""
    cdef Py_ssize_t[MAX_COMPACT_RANK + 1] counts
    cdef int depth = 0
    cdef int rank = -1
    cdef const char* at = cursor.at
    cdef const char* end = cursor.end
    cdef const char* past
    cdef double real
    cdef bint regular
    while True:
        at = past_blanks(at)
        cursor.at = at
        if at[0] == b"[":
            if depth == (MAX_COMPACT_RANK if rank < 0 else rank):
                return False
            at = past_blanks(at + 1)
            cursor.at = at
            counts[depth] = 0
            depth += 1
            if at[0] != b"]":
                if rank < 0:
                    shape[depth - 1] = -1
                continue
            if rank < 0:
                rank = depth
                shape[depth - 1] = -1
            elif depth != rank:
                return False
        else:
            if depth != rank:
                if rank >= 0:
                    return False
                rank = depth
            past = past_fraction(at, end, &real)
            if past is not NULL:
                at = past
                regular = push_real(block, real, end - at)
            else:
                regular = push_scanned(cursor, block)
                at = cursor.at
            if not regular:
                return False
            counts[depth - 1] += 1
        while True:
            at = past_blanks(at)
            cursor.at = at
            if at[0] == b",":
                at = past_blanks(at + 1)
                if at[0] == b"]":
                    return False
                break
            if at[0] != b"]":
                return False
            at += 1
            depth -= 1
            if shape[depth] < 0:
                shape[depth] = counts[depth]
            elif shape[depth] != counts[depth]:
                return False
            if depth == 0:
                cursor.at = at
                found_rank[0] = rank
                return True
            counts[depth - 1] += 1


cdef Numbers scan_numbers(Cursor* cursor):
    """The array of numbers at the cursor; None, the cursor unmoved, if it is anything else."""
    cdef const char* start = cursor.at
    cdef Py_ssize_t[MAX_COMPACT_RANK] shape
    cdef int rank = 0
    cdef Block block
    cdef Slot* slots
    block.slots = NULL
    block.size = block.capacity = 0
    block.has_real = block.has_integer = False
    cdef bint found
    if cursor.end - start < LONG_BYTES:
        found = scan_block(cursor, &block, shape, &rank)
    else:
        # Workers that hand over their results need the interpreter lock meanwhile.
        with nogil:
            found = scan_block(cursor, &block, shape, &rank)
    if not found:
        # Each byte is tried once at the most: the cost stays linear whatever the nesting.
        cursor.tried = cursor.at
        cursor.at = start
        cursor.failure = NONE
        free(block.slots)
        return None
    if block.size >= LARGE_NUMBERS:
        slots = <Slot*>realloc(block.slots, block.size * sizeof(Slot))
        if slots is not NULL:
            block.slots = slots
    cdef Numbers numbers = Numbers.__new__(Numbers)
    numbers.rank = rank
    numbers.size = block.size
    numbers.slots = block.slots
    numbers.has_real = block.has_real
    numbers.has_integer = block.has_integer
    memcpy(numbers.shape, shape, rank * sizeof(Py_ssize_t))
    return numbers

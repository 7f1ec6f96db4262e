"""What is known of TFLite's operations: how many tensors each takes and makes, of which types.

Only what every file that a converter writes holds to, and what some kernel believes without a
look. Source: schema.fbs, the operations' definitions (tfl_ops.td) and the kernels themselves.
"""

CUSTOM = 32
FIRST_OF_STABLEHLO = 162

INPUTS_THAT_MUST_BE_THERE = {
    3: 2,  # CONV_2D
    4: 2,  # DEPTHWISE_CONV_2D
    9: 2,  # FULLY_CONNECTED
    15: 2,  # LSH_PROJECTION
    16: 1,  # LSTM
    27: 3,  # SVDF
    44: 1,  # UNIDIRECTIONAL_SEQUENCE_LSTM
    46: 1,  # BIDIRECTIONAL_SEQUENCE_RNN
    52: 1,  # BIDIRECTIONAL_SEQUENCE_LSTM
    67: 3,  # TRANSPOSE_CONV
    132: 2,  # CONV_3D
    141: 3,  # CONV_3D_TRANSPOSE
}
"""Of operations that allow for tensors that are left out; all others do not."""

COUNTS_OF_OUTPUTS = {49, 88, 102}
"""SPLIT, UNPACK and SPLIT_V, whose options begin with the number of their outputs."""

_FEWEST_INPUTS = {
    0: (129, 136, 142),  # CALL_ONCE, HASHTABLE, VAR_HANDLE
    2: (
        0, 3, 7, 9, 15, 18, 23, 34, 36, 39, 40, 41, 42, 48, 49, 54, 55, 56, 57, 58, 61, 62, 63, 69,
        70, 71, 72, 74, 78, 79, 81, 82, 84, 86, 89, 90, 91, 94, 95, 97, 99, 100, 105, 107, 112,
        115, 125, 126, 128, 130, 131, 132, 140, 144, 145, 149, 156, 160, 161,
    ),
    3: (
        4, 10, 37, 38, 60, 64, 65, 67, 96, 102, 122, 123, 137, 138, 141, 151, 153, 154, 155, 157,
        203,
    ),
    4: (45, 68, 85),  # STRIDED_SLICE, SPARSE_TO_DENSE, ONE_HOT
    5: (24, 33, 35, 120),  # RNN, EMBEDDING_LOOKUP_SPARSE, UNIDIRECTIONAL_SEQUENCE_RNN, and below
    6: (121,),  # NON_MAX_SUPPRESSION_V5, V4 being 120
}  # fmt: skip
_FEWEST_OUTPUTS = {
    0: (31, 118, 119, 129, 138, 144),  # CALL, IF, WHILE, CALL_ONCE, HASHTABLE_IMPORT, ASSIGN_...
    2: (48, 103, 120),  # TOPK_V2, UNIQUE, NON_MAX_SUPPRESSION_V4
    3: (121,),
}
_INPUTS = {code: count for count, codes in _FEWEST_INPUTS.items() for code in codes}
_OUTPUTS = {code: count for count, codes in _FEWEST_OUTPUTS.items() for code in codes}

MOVED_INPUT = {
    2: 0, 22: 0, 36: 0, 39: 0, 43: 0, 45: 0, 49: 1, 60: 0, 34: 0, 65: 0, 69: 0, 70: 0, 83: 0, 88: 0,
    94: 1, 100: 0, 102: 0, 105: 0, 107: 0, 112: 0, 122: 1, 123: 1, 64: 1, 130: 0, 151: 0,
}  # fmt: skip
"""Of operations that only move values, the first input whose values they move: RESHAPE, GATHER,
CONCATENATION and so on. Their outputs are of its type."""

MAKERS_OF_STRINGS = {*MOVED_INPUT, CUSTOM, 31, 118, 119, 137, 143}
"""And CALL, IF, WHILE, HASHTABLE_FIND and READ_VARIABLE: the outputs of no others are strings."""

WEIGHTED = {3, 4, 9}
"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED: their second input are weights."""


def fewest_tensors(code: int) -> tuple[int, int]:
    """How many inputs and outputs an operation has at least."""
    if code == CUSTOM or (code >= FIRST_OF_STABLEHLO and code not in _INPUTS):
        return 0, 0
    return _INPUTS.get(code, 1), _OUTPUTS.get(code, 1)

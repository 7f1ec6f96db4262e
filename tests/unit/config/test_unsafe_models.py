"""`--refuse_unsafe_models` and its exceptions, read."""

import pytest

from salver.config.flags import Flags
from salver.config.unsafe_models import unsafe_model_exceptions
from salver.errors import InvalidArgument
from salver.scanning.report import Allowance, Finding


def test_without_the_flag_nothing_is_scanned() -> None:
    assert unsafe_model_exceptions(Flags(unsafe_model_exceptions="reads-file")) is None


def test_exceptions_are_read_and_types_that_are_trusted_are_among_them() -> None:
    flags = Flags(
        refuse_unsafe_models=True,
        unsafe_model_exceptions="python-file, unknown-operation:SentencepieceOp",
        skops_trusted_types="mine.Scaler",
    )
    found = unsafe_model_exceptions(flags)
    assert found == (
        Allowance("python-file"),
        Allowance("unknown-operation", "SentencepieceOp"),
        Allowance("unknown-object", "mine.Scaler"),
    )
    assert found[2].covers(Finding("unknown-object", "x", "x", "mine.Scaler"))
    assert not found[2].covers(Finding("unknown-object", "x", "x", "mine.Other"))


@pytest.mark.parametrize("refuse", [False, True])
def test_an_exception_that_names_no_rule_is_refused(refuse: bool) -> None:
    flags = Flags(refuse_unsafe_models=refuse, unsafe_model_exceptions="reads_file")
    with pytest.raises(InvalidArgument, match="--unsafe_model_exceptions: there is no rule"):
        unsafe_model_exceptions(flags)

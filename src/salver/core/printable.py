"""Text from files that others made, for a screen."""


def printable(text: str, kept: str = "") -> str:
    """The text with escapes for what moves the cursor, changes colours or looks like another line.

    Args:
        text: with names from a file, which may be hostile.
        kept: characters that stay as they are all the same.
    """
    return "".join(
        each if each in kept or each.isprintable() else ascii(each)[1:-1] for each in text
    )

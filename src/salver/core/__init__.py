"""The words of the field, and the decisions about versions: no wire format, no framework."""

"""A model tried on data: inputs from files and expressions, one run, outputs shown and saved."""

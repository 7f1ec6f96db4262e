"""Predictions for whole files: rows in, rows out, in batches; a broken run goes on."""

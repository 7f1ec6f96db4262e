"""One module per framework, imported when a model needs it."""

"""The use cases, once for all protocols; arrays, never bytes."""

"""Models brought to where servers find them: checked, published whole or not at all, taken back."""

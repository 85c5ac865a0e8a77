"""What a stage's result depended on, and whether that is still what it was."""

"""Records what a stage's result depended on, and checks whether it has changed."""

"""What a comparison comes to, for people and for CI: one file a format.

`reports.checks.write.write` writes all that a command was asked for, and returns its exit code.
"""

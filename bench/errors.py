"""The family of errors. Each message is one line: what is wrong, where, and what would be right."""


class BenchError(Exception):
    """Base of all errors of this suite; the command line prints it as one line and exits with 2."""


class MatrixError(BenchError):
    """A mistake in a matrix file, filter or budget."""


class DataError(BenchError):
    """A data set that is unavailable or has unexpected content."""


class StoreError(BenchError):
    """A results folder that cannot be read or written."""


class Diverged(BenchError):
    """Training produced a loss that is not finite or ten times its start, or outputs that are not finite."""


class StageError(BenchError):
    """A stage that cannot run, for a known reason."""

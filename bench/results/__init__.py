"""What lies in a results folder: the store, the artifacts, the reports."""

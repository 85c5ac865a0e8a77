"""The page of a report: what stands where, its data as compact arrays, its scripts and style."""

"""What measures: clock, FLOPs, memory, sizes, energy, environment. One probe a file, none imports the suite."""

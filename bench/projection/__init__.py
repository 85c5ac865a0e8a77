"""What a model will cost before it is trained or served: FLOPs, memory, time, energy and money."""

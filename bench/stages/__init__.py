"""What happens inside a worker: one module for each kind of stage, each with `run(request, folder)`."""

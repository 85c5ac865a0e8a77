"""Models: their structure and weights on disk, their training, their outputs and how near two are."""

"""What is written about a run beside its model: a page to look at, and a model card."""

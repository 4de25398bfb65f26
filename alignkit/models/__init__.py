"""Models: where they come from, adapters, precision, and the one forward that turns answers into log-probs."""

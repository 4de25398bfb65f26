"""What a recipe will need, before it runs: memory of a process and time of a step."""

"""The `ensemble:` section: several reward models from one recipe."""

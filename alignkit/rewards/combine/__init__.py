"""Rules that combine the scores of members, one a file, found by the file's name."""

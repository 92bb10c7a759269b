"""Cloud data: one file for each platform, the search through them, and where results are kept."""

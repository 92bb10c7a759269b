"""Cloud data: a module for each platform, the search through them, and where results are kept."""

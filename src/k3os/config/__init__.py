"""From text (files, kernel cmdline, user data) to one merged, typed Config with provenance."""

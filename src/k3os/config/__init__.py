"""From text (files, kernel cmdline, userdata) to one merged, typed Config with provenance."""

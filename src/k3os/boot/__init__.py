"""The early boot: PID 1 of the initrd, until systemd starts."""

"""The only package that starts processes, mounts, or talks to the kernel and the network."""

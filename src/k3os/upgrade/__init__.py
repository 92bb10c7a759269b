"""Changing the versions on a disk: what is offered, what will be done, doing it."""

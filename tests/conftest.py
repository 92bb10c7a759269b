"""What all tests share."""

from hypothesis import settings

# a host that also builds an image is slow at times; `make bench` measures speed
settings.register_profile("k3os", deadline=None)
settings.load_profile("k3os")

"""What all tests share."""

from hypothesis import settings

# a machine that also builds an image is slow at times; slowness is measured by `make bench`
settings.register_profile("k3os", deadline=None)
settings.load_profile("k3os")

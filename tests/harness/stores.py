"""Which store of several an account is in: lib/stores.h, written a second time."""
from .scene import new_user

MASK = (1 << 64) - 1


def place(user, n=2):
    """From 0. Of a site that spreads by domain: of the domain."""
    h = 0xcbf29ce484222325
    for byte in user.encode():
        h = ((h ^ byte) * 0x100000001b3) & MASK

    def mix(x):
        x = ((x ^ (x >> 30)) * 0xbf58476d1ce4e5b9) & MASK
        x = ((x ^ (x >> 27)) * 0x94d049bb133111eb) & MASK
        return x ^ (x >> 31)
    return max(range(n), key=lambda i: mix((h + (i + 1) * 0x9e3779b97f4a7c15) & MASK))


def user_in(which, n=2):
    while True:
        user = new_user()
        if place(user, n) == which:
            return user


def domain_in(which, n=2):
    """Of a site that spreads by domain."""
    return next(d for d in (f"d{i}.example" for i in range(1000)) if place(d, n) == which)

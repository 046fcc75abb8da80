import gc

# The imports make a quarter of a million objects, and next to no garbage: to look for it all the
# same took an eighth of the start. The server sets its own once it has started.
gc.set_threshold(500_000)

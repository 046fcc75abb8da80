import gc

# The imports create a quarter of a million objects and almost no garbage, but collecting it took an
# eighth of the start. `app.main.freeze_garbage` sets the threshold for a server that has started.
gc.set_threshold(500_000)

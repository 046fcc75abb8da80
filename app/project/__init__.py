"""`app rename` and `app remove`, which turn the template into a project. Delete it afterwards.

It is for development: the image does not contain it.
"""

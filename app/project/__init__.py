"""`app new`, `app remove` and `app rename`, which reshape the project. Delete it afterwards.

It is for development: the image does not contain it.
"""

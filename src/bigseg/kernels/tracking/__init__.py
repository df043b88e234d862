"""Tracking: which detections of consecutive time points are the same object, and which are its daughters.

A movie is a list of time points, a *pair* two consecutive ones. :mod:`.candidates` makes the events that may have
happened in a pair, with their costs; :mod:`.program` chooses among them by an integer program, :mod:`.greedy` by
matching; :mod:`.windows` does it for long movies in parts; :mod:`.tracing` numbers the tracks. :mod:`.hierarchy` makes
nested candidate objects, of which the program chooses as it links. :mod:`.as_volume` takes time for an axis of space.
"""

"""The whole system as real processes on one machine, to be watched and hurt from outside.

What ``make run`` starts for a user to try, this starts for the flow suite and the soak to attack:
any number of API and worker processes over any AWS on loopback.
"""

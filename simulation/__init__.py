"""How well scaling policies keep the start promise, in a model of AWS: ``make simulate``."""

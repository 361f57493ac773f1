"""What a deployment costs: ``make cost``."""

"""Resource types that moto's CloudFormation lacks or creates without some properties.

moto finds every direct subclass of ``CloudFormationModel`` whose module was imported before the
first stack is created. If two classes have the same type, moto uses the later one.
"""

from rehearsal.aws.resource_types import alarm, extended, scaling, schedule, secret

__all__ = ["alarm", "extended", "scaling", "schedule", "secret"]

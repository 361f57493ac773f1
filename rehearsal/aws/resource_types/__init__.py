"""Resource types that moto's CloudFormation lacks, or creates without all that was asked for.

moto finds every direct subclass of ``CloudFormationModel`` by itself, once its module is imported
and before the first stack is made; of two for one type the later one counts.
"""

from rehearsal.aws.resource_types import alarm, completed, scaling, schedule, secret

__all__ = ["alarm", "completed", "scaling", "schedule", "secret"]

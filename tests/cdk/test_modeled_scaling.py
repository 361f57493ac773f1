"""The model's policy for Taskfleet is the one that is deployed."""

import pytest

from cdk.template.templates import Templates
from simulation.auto_scaling import ScalableTarget, StepScaling, TargetTracking
from simulation.policies import TaskfleetPolicies
from simulation.system import Metrics, Setup


@pytest.fixture
def modeled(standard: Templates) -> TaskfleetPolicies:
    settings = standard.settings
    target = ScalableTarget(0, settings.worker_max_tasks, running=lambda: 0)
    return TaskfleetPolicies(Setup(target, Metrics(), settings, settings.start_promise_s))


def test_target_tracking_has_the_targets_and_cooldowns_of_the_templates(
    standard: Templates, modeled: TaskfleetPolicies
) -> None:
    deployed = {
        (
            float(configuration["TargetValue"]),
            configuration["ScaleOutCooldown"],
            configuration["ScaleInCooldown"],
        )
        for policy in standard.all(
            "ApplicationAutoScaling::ScalingPolicy",
            stack="worker",
            PolicyType="TargetTrackingScaling",
        )
        for configuration in [policy["TargetTrackingScalingPolicyConfiguration"]]
    }

    assert {
        (policy.target_value, policy.scale_out_cooldown_s, policy.scale_in_cooldown_s)
        for policy in modeled.all
        if isinstance(policy, TargetTracking)
    } == deployed


def test_the_step_from_zero_has_the_alarm_and_the_step_of_the_templates(dev: Templates) -> None:
    settings = dev.settings
    target = ScalableTarget(0, settings.worker_max_tasks, running=lambda: 0)
    modeled = TaskfleetPolicies(Setup(target, Metrics(), settings, settings.start_promise_s))
    (step,) = (policy for policy in modeled.all if isinstance(policy, StepScaling))
    policy = dev.one(
        "ApplicationAutoScaling::ScalingPolicy", stack="worker", PolicyType="StepScaling"
    )
    configuration = policy["StepScalingPolicyConfiguration"]
    (alarm,) = (
        each for each in dev.all("CloudWatch::Alarm", stack="worker") if each.get("AlarmActions")
    )

    assert (step.alarm.datapoints, step.alarm.periods) == (
        alarm["DatapointsToAlarm"],
        alarm["EvaluationPeriods"],
    )
    assert configuration["Cooldown"] == step.cooldown_s
    assert [each["ScalingAdjustment"] for each in configuration["StepAdjustments"]] == [
        each.adjustment for each in step.steps
    ]

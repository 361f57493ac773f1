"""Short runs of the whole model."""

from dataclasses import replace

import pytest

from simulation.__main__ import standard_settings
from simulation.fleet import SpotLoss
from simulation.policies import BEST, OURS, Reactive, policies
from simulation.scenarios import Scenario
from simulation.system import Run, ScalingPolicy, simulate

SETTINGS = standard_settings()
POLICIES = {policy.name: policy for policy in policies(Reactive(0.5, 0.9, 300))}
MINUTE_S = 60
BURST = Scenario("burst", "", 40 * MINUTE_S, SETTINGS.task_cpu_s, bursts={10 * MINUTE_S: 5_000})
STEADY = Scenario("steady", "", 40 * MINUTE_S, SETTINGS.task_cpu_s, lambda _second: 2)


def run(scenario: Scenario, policy: str = OURS, seed: int = 1) -> Run:
    return simulate(
        scenario,
        POLICIES[policy],
        settings=SETTINGS,
        promise_s=SETTINGS.start_promise_s,
        seed=seed,
    )


def tasks(done: Run) -> int:
    return sum(done.waits.values())


def peak(done: Run) -> int:
    return max(moment.running for moment in done.timeline)


def test_the_same_seed_gives_the_same_run() -> None:
    assert run(STEADY) == run(STEADY)
    assert run(STEADY).waits != run(STEADY, seed=2).waits


def test_every_policy_receives_the_same_tasks() -> None:
    assert len({tasks(run(STEADY, name)) for name in POLICIES}) == 1


def test_every_task_is_counted_once() -> None:
    assert tasks(run(BURST)) == 5_000


def test_a_worker_that_keeps_up_with_a_low_load_stays_alone() -> None:
    done = run(STEADY)

    assert done.desired_changes == []
    assert max(done.waits) <= 1
    assert sum(done.charged_s.values()) == pytest.approx(STEADY.duration_s, abs=5)


def test_a_burst_adds_workers_and_their_removal_follows() -> None:
    done = run(BURST)

    assert peak(done) > 1
    assert done.desired_changes[0] > 0


def test_later_metrics_let_tasks_wait_longer() -> None:
    assert max(run(replace(BURST, delay_s=180)).waits) > max(run(BURST).waits)


@pytest.mark.parametrize("name", [OURS, BEST])
def test_no_policy_reacts_while_metrics_are_missing(name: str) -> None:
    gap = range(10 * MINUTE_S, 20 * MINUTE_S)
    done = run(replace(BURST, gap=gap), name)

    assert [m.desired for m in done.timeline if m.at_s in gap] == [1] * (len(gap) // 30)
    assert peak(done) > 1


def test_ours_leaves_zero_and_target_tracking_alone_does_not() -> None:
    from_zero = replace(BURST, minimum=0)
    tracking = ScalingPolicy("tracking", POLICIES["backlog tracking"].build, leaves_zero=True)

    assert peak(run(from_zero)) >= 1
    done = simulate(from_zero, tracking, settings=SETTINGS, promise_s=600, seed=1)
    assert peak(done) == 0
    assert done.never_started == 5_000


def test_lost_spot_containers_are_replaced_when_there_is_capacity_again() -> None:
    loaded = Scenario(
        "loaded",
        "",
        80 * MINUTE_S,
        SETTINGS.task_cpu_s,
        lambda second: min(20, second / 60),
        spot_losses=[SpotLoss(at_s=50 * MINUTE_S, share=1, outage_s=10 * MINUTE_S)],
    )
    running = {moment.at_s: moment.running for moment in run(loaded, BEST).timeline}

    assert running[49 * MINUTE_S] > running[52 * MINUTE_S]
    assert running[70 * MINUTE_S] >= running[49 * MINUTE_S]

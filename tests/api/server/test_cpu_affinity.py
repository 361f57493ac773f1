from services.api.server.cpu_affinity import choose


def test_a_process_gets_a_free_core() -> None:
    assert choose({0, 1, 2}, taken=[2, 0]) == 1


def test_processes_spread_evenly_when_they_outnumber_the_cores() -> None:
    taken: list[int | None] = []
    for _ in range(5):
        taken.append(choose({3, 5}, taken=taken))

    assert sorted(taken.count(core) for core in (3, 5)) == [2, 3]


def test_no_core_is_chosen_when_none_are_known() -> None:
    assert choose((), taken=[]) is None

from services.api.server.cpu_affinity import choose_core


def test_a_process_gets_a_free_core() -> None:
    assert choose_core({0, 1, 2}, in_use=[2, 0]) == 1


def test_processes_spread_evenly_when_they_outnumber_the_cores() -> None:
    in_use: list[int | None] = []
    for _ in range(5):
        in_use.append(choose_core({3, 5}, in_use=in_use))

    assert sorted(in_use.count(core) for core in (3, 5)) == [2, 3]


def test_no_core_is_chosen_when_none_are_known() -> None:
    assert choose_core((), in_use=[]) is None

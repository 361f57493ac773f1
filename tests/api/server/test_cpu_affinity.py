from services.api.server.cpu_affinity import choose


def test_a_process_gets_a_core_that_no_other_has() -> None:
    assert choose({0, 1, 2}, taken=[2, 0]) == 1


def test_with_more_processes_than_cores_none_is_taken_twice_as_often() -> None:
    taken: list[int | None] = []
    for _ in range(5):
        taken.append(choose({3, 5}, taken=taken))

    assert sorted(taken.count(core) for core in (3, 5)) == [2, 3]


def test_where_no_cores_are_known_none_is_chosen() -> None:
    assert choose((), taken=[]) is None

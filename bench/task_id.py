"""The IDs of the benchmark's tasks. The peers import this module, too."""


def task_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"

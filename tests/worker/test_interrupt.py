"""Steps of an attempt that end when their lease is lost."""

from services.worker.interrupt import Interrupt


def test_an_interrupt_ends_the_steps_in_progress_and_those_that_start_later() -> None:
    interrupt, ended = Interrupt(), []
    with interrupt.calling(lambda: ended.append("before")):
        pass
    with interrupt.calling(lambda: ended.append("during")):
        assert ended == []
        interrupt.set()
        assert ended == ["during"]
    with interrupt.calling(lambda: ended.append("after")):
        assert ended == ["during", "after"]

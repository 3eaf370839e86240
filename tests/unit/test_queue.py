"""Names on the wire."""

from vidlm.queue import CONSUME_ORDER, Queue, Task


def test_every_task_has_a_queue_and_every_queue_a_place() -> None:
    assert {task.queue for task in Task} == set(Queue) == set(CONSUME_ORDER)


def test_whoever_waits_for_an_answer_comes_first() -> None:
    assert Task.ANSWER.queue is CONSUME_ORDER[0]
    assert Task.PREPARE.queue is Queue.CPU
    assert Task.ANALYZE_SPAN.queue is Task.FINISH.queue is Queue.GPU

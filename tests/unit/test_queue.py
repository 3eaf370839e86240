"""Names on the wire."""

from vidlm.queue import CONSUME_ORDER, Queue, Task, tasks_of


def test_every_task_has_a_queue_and_every_queue_a_place() -> None:
    assert {task.queue for task in Task} == set(Queue) == {*CONSUME_ORDER, Queue.WEBHOOK}
    assert {task for queue in Queue for task in tasks_of(queue)} == set(Task)


def test_whoever_waits_for_an_answer_comes_first() -> None:
    assert Task.ANSWER.queue is CONSUME_ORDER[0]
    assert Task.PREPARE.queue is Queue.CPU
    assert Task.ANALYZE_SPAN.queue is Task.FINISH.queue is Queue.GPU

"""Who is served next: urgent work first, tenants in turns, and no unit to two workers."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from jobs_helpers import ATTEMPTS, LEASE_S, accepted, expire, must_take, prepared
from sqlmodel import col, select

from vidlm.domain import Priority
from vidlm.jobs import outbox
from vidlm.jobs.claims import Claim, claim_next
from vidlm.jobs.intake import Wishes
from vidlm.queue import Task
from vidlm.store.engine import Database
from vidlm.store.tables import DEFAULT_TENANT, Job, SpanWork, Tenant


def next_one(database: Database, *tasks: Task) -> Claim | None:
    with database.write() as session:
        return claim_next(session, tasks or (Task.PREPARE,), lease_s=LEASE_S, max_attempts=ATTEMPTS)


def tenant(database: Database, name: str) -> str:
    with database.write() as session:
        session.add(Tenant(id=f"ten_{name}", name=name))
    return f"ten_{name}"


def served(database: Database) -> list[Job]:
    """Every waiting job, in the order in which a worker would get them."""
    found = []
    while held := next_one(database):
        with database.read() as session:
            found.append(session.get_one(Job, held.target_id))
    return found


def test_what_is_urgent_overtakes_what_waits_longer(database: Database) -> None:
    order = [Priority.BULK, Priority.NORMAL, Priority.INTERACTIVE, Priority.HIGH, Priority.BULK, Priority.INTERACTIVE]
    for priority in order:
        accepted(database, wishes=Wishes(priority=priority))
    assert [job.priority for job in served(database)] == [0, 0, 1, 2, 3, 3]


def test_a_tenant_with_much_to_do_does_not_keep_others_waiting(database: Database) -> None:
    loud, quiet = tenant(database, "loud"), tenant(database, "quiet")
    for _ in range(20):
        accepted(database, loud)
    for _ in range(2):  # two are being worked on when the other tenant comes
        assert next_one(database) is not None
    for _ in range(3):
        accepted(database, quiet)
    order = [job.tenant_id for job in served(database)]
    assert Counter(order[:6]) == {loud: 3, quiet: 3}
    assert order[6:] == [loud] * 15


def test_jobs_of_one_tenant_stay_in_order(database: Database) -> None:
    jobs = [accepted(database).id for _ in range(5)]
    assert [job.id for job in served(database)] == jobs


def test_spans_take_turns_as_well(database: Database) -> None:
    loud, quiet = tenant(database, "loud"), tenant(database, "quiet")
    prepared(database, accepted(database, loud), spans=6)
    prepared(database, accepted(database, quiet), spans=2)
    order = []
    while held := next_one(database, Task.ANALYZE_SPAN):
        with database.read() as session:
            order.append(session.get_one(SpanWork, held.target_id).tenant_id)
    assert Counter(order[:4]) == {loud: 2, quiet: 2}


def test_what_a_dead_worker_left_is_taken_up_in_its_old_place(database: Database) -> None:
    first, second = accepted(database), accepted(database)
    must_take(database, Task.PREPARE, first.id)
    expire(database, Task.PREPARE, first.id)
    held = next_one(database)
    assert held is not None
    assert (held.target_id, held.attempt) == (first.id, 2)
    held = next_one(database)
    assert held is not None
    assert held.target_id == second.id


def test_workers_at_once_never_get_the_same_unit(database: Database) -> None:
    jobs = {accepted(database).id for _ in range(24)}

    def work(_number: int) -> list[str]:
        found = []
        while held := next_one(database):
            found.append(held.target_id)
        return found

    with ThreadPoolExecutor(6) as pool:
        got = [target for found in pool.map(work, range(6)) for target in found]
    assert sorted(got) == sorted(jobs)


def test_a_wakeup_that_was_used_for_another_unit_is_sent_again(database: Database) -> None:
    """The urgent one came before its own wake-up went out; the one that was heard was the other's."""
    plain = accepted(database)
    with database.write() as session:
        assert [due.target_id for due in outbox.take_due(session)] == [plain.id]
    urgent = accepted(database, wishes=Wishes(priority=Priority.HIGH))
    with database.write() as session:
        held = claim_next(session, (Task.PREPARE,), lease_s=LEASE_S, max_attempts=ATTEMPTS, woken=True)
    assert held is not None
    assert held.target_id == urgent.id
    with database.write() as session:
        assert [due.target_id for due in outbox.take_due(session)] == [plain.id]


def test_a_wakeup_that_is_still_on_its_way_serves_the_other(database: Database) -> None:
    _, urgent = accepted(database), accepted(database, wishes=Wishes(priority=Priority.HIGH))
    with database.write() as session:
        assert len(outbox.take_due(session)) == 2
    with database.write() as session:
        held = claim_next(session, (Task.PREPARE,), lease_s=LEASE_S, max_attempts=ATTEMPTS, woken=True)
    assert held is not None
    assert held.target_id == urgent.id
    with database.write() as session:
        assert outbox.take_due(session) == []


def test_turns_start_anew_when_nobody_waits(database: Database) -> None:
    for _ in range(3):
        accepted(database)
    served(database)
    accepted(database)
    with database.read() as session:
        newest = session.exec(select(Job).where(Job.tenant_id == DEFAULT_TENANT).order_by(col(Job.id).desc())).first()
    assert newest is not None
    assert newest.turn == 1

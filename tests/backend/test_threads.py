"""The queue's threads, the chores and the notices between threads and event loops."""

import asyncio
import threading
import time

from stenograf.backend.hub import Hub, wait
from stenograf.backend.queue import ThreadQueue
from stenograf.backend.stop import Reason, Stop, Stopped
from stenograf.backend.upkeep import Chore, Upkeep

from .desk import until


def test_a_poke_is_answered_at_once_and_a_failure_is_not_the_end() -> None:
    due = [0]
    done: list[str] = []

    def process_next() -> bool:
        if not due[0]:
            return False
        due[0] -= 1
        done.append(threading.current_thread().name)
        if len(done) == 1:
            raise RuntimeError("the database is away")
        return True

    queue = ThreadQueue([process_next] * 2, poll_s=30)
    queue.start()
    time.sleep(0.05)
    due[0] = 1
    queue.poke()
    until(lambda: len(done) == 1)
    due[0] = 3
    queue.poke()
    until(lambda: len(done) == 4)
    queue.close(5)


def test_without_a_poke_the_poll_finds_work() -> None:
    found = threading.Event()
    due: list[int] = []

    def process_next() -> bool:
        if due:
            due.pop()
            found.set()
            return True
        return False

    queue = ThreadQueue([process_next], poll_s=0.05)
    queue.start()
    time.sleep(0.1)
    due.append(1)
    assert found.wait(20)
    queue.close(5)


def test_a_chore_that_fails_is_done_again_and_hinders_no_other() -> None:
    failed, done = [0], [0]

    def fail() -> None:
        failed[0] += 1
        raise OSError("no disk")

    def work() -> None:
        done[0] += 1

    upkeep = Upkeep([Chore("failing", 0.02, fail), Chore("working", 0.02, work)])
    upkeep.start()
    until(lambda: failed[0] > 2 and done[0] > 2)
    upkeep.close()


def test_notices_cross_threads() -> None:
    hub = Hub()

    async def listen() -> float:
        async with hub.subscribe("a") as notices:
            began = time.monotonic()
            threading.Timer(0.05, hub.publish, ("b",)).start()
            threading.Timer(0.15, hub.publish, ("a",)).start()
            while not notices.changes:
                await notices.changed()
            return time.monotonic() - began

    assert 0.1 < asyncio.run(listen()) < 20
    hub.publish("a")


def test_closing_wakes_everybody() -> None:
    hub = Hub()

    async def listen() -> None:
        async with hub.subscribe("a") as notices:
            threading.Timer(0.05, hub.close).start()
            while not notices.changes:
                await notices.changed()

    began = time.monotonic()
    asyncio.run(listen())
    assert time.monotonic() - began < 20
    assert hub.closed


def test_a_drain_can_be_hardened_but_a_cancel_not_softened() -> None:
    stop = Stop()
    stop.check()
    stop.set(Reason.DRAINED)
    assert stop.gently
    stop.set(Reason.CANCELLED)
    assert not stop.gently
    stop.set(Reason.DRAINED)
    try:
        stop.check()
    except Stopped as stopped:
        assert stopped.reason is Reason.CANCELLED


def test_a_cancel_is_not_lost_to_a_notice_at_the_same_moment() -> None:
    async def cancelled_after(steps: int) -> None:
        event = asyncio.Event()

        async def watch() -> None:
            while True:
                await wait(event, 30)

        watching = asyncio.ensure_future(watch())
        await asyncio.sleep(0.01)
        event.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        watching.cancel()
        await asyncio.wait({watching}, timeout=20)
        assert watching.cancelled()

    for steps in range(5):
        asyncio.run(cancelled_after(steps))

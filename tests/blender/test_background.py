"""One long task beside Blender's main thread, and another one in its place."""

import threading

from dif3d_blender.blender.background import Background


def test_only_the_last_one_that_was_asked_for_is_heard():
    task, goes_on = Background("look"), threading.Event()

    def slow(report, stopper):
        goes_on.wait(10)
        report("late", 0.9)
        return "first"

    task.start(slow)
    first = task._thread
    task.start(lambda *_: "not now")
    assert task._thread is first
    task.restart(lambda *_: "second")
    task.join(10)
    goes_on.set()
    first.join(10)
    assert (task.result, task.stage, task.error, task.running) == ("second", "", "", False)

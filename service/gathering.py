"""Await several calls of one request: all of their results, or the first error."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")


async def all_of(calls: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """
    The results of calls, in their order; the first error is raised and the others are cancelled.

    A call alone, as most are, needs no task. What is raised holds no reference to itself by way of a frame: its
    request's images would stay in memory until the garbage collector comes by.
    """
    if len(calls) == 1:
        return [await calls[0]]
    tasks: list[asyncio.Task[Result]] = []
    error: BaseException | None = None
    try:
        try:
            async with asyncio.TaskGroup() as group:
                tasks.extend(group.create_task(call) for call in calls)
        except ExceptionGroup as errors:  # except* would wrap what is raised here: Python 3.11.2, the image
            error = errors.exceptions[0]
            errors.__traceback__ = None  # it leads to a frame of the group's that holds errors
        if error is not None:
            raise error
        return [task.result() for task in tasks]
    finally:
        del tasks, error

"""
One benchmark a file, found by its name. A part has

    TITLE: str                                 one line
    def measure(plan: Plan) -> Result: ...     its docstring says what is compared with what

and imports nothing of what it measures: a part about an engine or a graph runs that in a process of its own.
"""

"""A behavior that interrupts training, for the tests of this room."""

from tests.toys import ToyBehavior


def stopping(at):
    """Samples until so many steps were made, then Ctrl-C."""
    steps = []

    class Stopping(ToyBehavior):
        def samples(self, item, step):
            steps.append(step)
            if len(steps) > at:
                raise KeyboardInterrupt
            return super().samples(item, step)

    return Stopping()

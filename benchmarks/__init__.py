"""How fast diffspeak is, side by side with what a user would run instead: `python -m benchmarks`.

Every contender does the same work on the same random model, each in a fresh process. Knows the
package's public functions; the package knows nothing of it.
"""

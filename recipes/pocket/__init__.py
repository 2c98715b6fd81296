"""The recipe of the pocket base: its training corpus, its training, its pages of results.

- `python -m recipes.pocket.generated`: the generated files of the shipped corpus
- `python -m recipes.pocket.build FOLDER`: the base
- `python -m recipes.pocket.results RUNS PAGE`: what it can do
"""

"""Generative adversarial models: training, unlearning, and an audit of their own.

    recipe, nets, pair, duel, fit    how a pair of generator and discriminator is made
    problem, methods/                what has to go, and how
    judge, measures, verdict, goals  how far a pair is from gold
    runs, work, audit, result        folders, stores and what the commands call

Nothing is imported here: `from expunge.gan.recipe import GanRecipe`, and so on.
"""

"""Quality and seconds of the named recipes of pairs, in the words of `expunge.gan.recipes.MEASURED`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.clock import threads
from benchmarks.figure import Figure, Options, skipped
from expunge.data import load
from expunge.errors import NeedsError
from expunge.gan.distances import frechet, precision_recall
from expunge.gan.fit import fit_pair
from expunge.gan.judge import Judge
from expunge.gan.pair import drawn, latents
from expunge.gan.recipe import GanRecipe
from expunge.gan.recipes import GAN_RECIPES
from expunge.training import fit
from expunge.training.recipes import recipe as find

NAMES = ("digits-gan", "digits-cgan", "mnist-dcgan", "mnist-cdcgan", "fashion-dcgan", "fashion-cdcgan")
"""Those that 2 cores train in minutes."""
PICTURES = 2048


def measure(options: Options) -> Iterator[Figure]:
    """One figure for each recipe, of one training on one thread."""
    for name in NAMES:
        try:
            text, distance = trained(GAN_RECIPES[name])
        except NeedsError as error:
            yield skipped(f"gan_recipes, {name}", error)
        else:
            yield Figure(what=f"gan_recipes, {name}", measured=distance, unit="Frechet distance", text=text)


def trained(recipe: GanRecipe) -> tuple[str, float]:
    """What is said of a recipe, and the Frechet distance of its pictures from as many test rows."""
    splits = load(recipe.data)
    with threads(1):
        judge = Judge(fit(find(recipe.classifier), splits.train, seed=1).model, find(recipe.classifier))
        made = fit_pair(recipe, splits.train, seed=0)
        count = min(PICTURES, len(splits.test))
        z, y = latents(made.pair.generator, count, seed=0, role="benchmark")
        features = judge.features(drawn(made.pair.generator, z, y))
        real = judge.features(splits.test.batch(np.arange(count))[0])
        distance, (precision, recall) = frechet(features, real), precision_recall(real, features)
    text = (
        f"Frechet distance {distance:.1f} on {count} pictures, precision {precision:.2f}, recall {recall:.2f}, "
        f"{made.cost.seconds:.0f} s on one thread"
    )
    return text, distance

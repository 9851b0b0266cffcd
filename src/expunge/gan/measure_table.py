"""The measures of a pair: what each number is, for people and for the verdict.

discriminator_auc             membership attack on the discriminator's score: forget rows against unseen rows
discriminator_auc_same_class  the same against unseen rows of the forgotten class alone
discriminator_skill           how well it tells test rows that stay from its own pictures; 0.5 where it is ruined
reconstruction_auc            membership attack on the generator: how near a latent search comes to each row
class_share                   share of drawn pictures that a classifier calls a forgotten class
class_probability             its mean probability of a forgotten class over drawn pictures
entropy                       mean entropy of its answer on drawn pictures, in nats
frechet, kid                  distance of drawn pictures from test rows of the classes that stay, on features
precision, recall             share of pictures among such rows, and of such rows among pictures
downstream_accuracy           on test rows that stay, of a classifier trained on drawn pictures and retain rows

An attack is two-sided: what counts is its distance from gold's value, not from one half.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """What a number is, for people and for the verdict."""

    name: str
    title: str
    meaning: str
    unit: str
    better: str
    """"gold": as near to gold as can be; "low" or "high": at least as good as gold."""
    judged: bool
    """Whether the verdict rests on it."""

    def bounded(self, value: float) -> float:
        """The value, within what such a number can be."""
        if self.name == "kid":
            return value
        return max(0.0, value if self.name in ("frechet", "entropy") else min(1.0, value))


MEASURES = {
    one.name: one
    for one in (
        Measure(
            "discriminator_auc",
            "discriminator attack",
            "Probability that the discriminator calls a forget row more real than an unseen row. One half where it "
            "tells nothing. Where a whole class went, unseen rows are of all classes and the number holds the class "
            "as well as membership.",
            "AUC",
            "gold",
            True,
        ),
        Measure(
            "discriminator_auc_same_class",
            "discriminator attack, same class",
            "The same against unseen rows of the forgotten class alone: membership without the class.",
            "AUC",
            "gold",
            True,
        ),
        Measure(
            "discriminator_skill",
            "discriminator's skill",
            "Probability that the discriminator calls a test row of the classes that stay more real than a picture of "
            "its own generator. At exactly one half it has collapsed, and no attack on it means anything.",
            "AUC",
            "gold",
            False,
        ),
        Measure(
            "reconstruction_auc",
            "reconstruction attack",
            "Probability that a latent search comes nearer to a forget row than to an unseen row: what the generator "
            "still holds of single rows.",
            "AUC",
            "gold",
            True,
        ),
        Measure(
            "class_share",
            "share of the class",
            "Share of drawn pictures that the audit's own classifier calls a forgotten class.",
            "share",
            "gold",
            True,
        ),
        Measure(
            "class_probability",
            "probability of the class",
            "Its mean probability of a forgotten class over drawn pictures.",
            "probability",
            "gold",
            False,
        ),
        Measure("entropy", "entropy", "Mean entropy of its answer on drawn pictures.", "nats", "gold", False),
        Measure(
            "frechet",
            "Frechet distance",
            "Between drawn pictures and test rows of the classes that stay, as many of each, on the features named "
            "above. Not FID, which is on Inception's features; it falls with the number of pictures.",
            "squared units of a feature",
            "low",
            True,
        ),
        Measure(
            "kid",
            "kernel distance",
            "The unbiased distance of KID's formula on the same features; it may lie below 0.",
            "",
            "low",
            False,
        ),
        Measure(
            "precision", "precision", "Share of drawn pictures that lie among such test rows.", "share", "high", False
        ),
        Measure("recall", "recall", "Share of such test rows that lie among drawn pictures.", "share", "high", False),
        Measure(
            "downstream_accuracy",
            "downstream accuracy",
            "On test rows of the classes that stay, of a classifier trained on drawn pictures beside the retain rows.",
            "share",
            "high",
            False,
        ),
    )
}

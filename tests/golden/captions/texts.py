"""Sentences of a coach on which packages for caption metrics were run."""

HYPOTHESES = {
    "a": "Keep your hand up.",
    "b": "Turn the hips more when you punch.",
    "c": "The guard is up and the chin is down.",
    "d": "Keep the chin down!",
    "e": "Step with the left foot.",
    "f": "Good.",
    "g": "Lift your back heel (the right): it's too low",
    "h": "Turn the hips.",
}
REFERENCES = {
    "a": ("Keep the left hand up; your guard drops.", "Your left guard is too low. Don't drop it."),
    "b": ("You don't turn your hips.", "Turn the hips and the back foot more.", "More hips!"),
    "c": ("The guard is up and the chin is down.",),
    "d": ("Bend the knees more. Chin down.", "Keep your chin down, bend your knees and turn."),
    "e": ("Step with the left foot before you punch.",),
    "f": ("Keep the hands up. Good balance, e.g. in the last second.", "Nothing to correct."),
    "g": ("Your back heel isn't lifted.", "Lift the heel - the right one - it's too low."),
    "h": ("The body isn't turning, you're only using arm-strength.", "Turn the hips"),
}
"""One to three references, contractions, several sentences, brackets, dashes.

The texts are short, so that the rules of reference lengths count.
"""

"""What a run is made of."""

from dataclasses import dataclass

SETTLE_S = 90.0
"""After a fault is over: for every command to have its result and for all to agree. Generous: machines are busy."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run is made of, and all it takes to repeat it."""

    fault: str
    seed: int
    engine: str = "sqlite"
    effect_class: str = "KEYED"
    variant: str = ""
    """One of the fault's own, for example where on the write path a hub dies."""
    mutant: str = ""
    patience_s: float = SETTLE_S
    """How long to wait for what must come: not part of what a seed decides."""

    @property
    def arguments(self) -> str:
        """For the command line."""
        words = [f"--fault {self.fault} --seed {self.seed} --engine {self.engine} --effect-class {self.effect_class}"]
        words += [f"--variant {self.variant}"] if self.variant else []
        words += [f"--mutant {self.mutant}"] if self.mutant else []
        return " ".join(words)

    @property
    def name(self) -> str:
        """For a folder."""
        parts = (self.fault, self.variant, self.engine, self.effect_class, str(self.seed), self.mutant)
        return "-".join(part for part in parts if part)

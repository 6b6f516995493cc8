"""Endpoints of experiments: what one would be, begin it, wait for it, and what it has found."""

import time
from dataclasses import asdict
from functools import partial
from typing import Literal, cast

from models.knobs import ConfigError, Problem
from playground.config.experiment import Plan, configs_of, read
from playground.config.gallery import ready
from playground.runs import experiments, store
from playground.runs.creation import collecting
from playground.ui.api.documents import ArmReview, Begun, Document, ExperimentReview, Found, Listed, Steered
from playground.ui.api.part import MAX_KEY, Part, key_of, text, told, whole
from playground.ui.api.watching import LOOK_S, MOST_WAIT_S, until
from playground.ui.common import Services
from playground.web.cache import Cache
from playground.web.experiments import described
from playground.workers.director import RUN, STOP
from playground.workers.supervisor import PATIENCE_S

DELETE = "delete"


class Experimenting(Part):
    def __init__(self, services: Services):
        super().__init__(services)
        self._fresh = Cache(LOOK_S)

    def ready_experiments(self) -> dict[str, Document]:
        """The ready experiments: claims of textbooks to try, as documents for /start_experiment, also to begin an own one with.

        Returns:
            By name; one with a thorough form has it as NAME thorough.
        """
        found = {}
        for name, each in ready().items():
            forms = {name: each.quick} | ({} if each.thorough is None else {f"{name} thorough": each.thorough})
            found |= {form: document.model_dump(mode="json", exclude_defaults=True) for form, document in forms.items()}
        return found

    def review_experiment(self, document: Document, owner_key: str = "") -> ExperimentReview:
        """Review an experiment before it begins: everything that is wrong with it, how many runs it takes, and for how long. Starts
        nothing. Refused as underway while its data are being prepared: call it again.

        Args:
            document: The experiment, like those of /ready_experiments.
            owner_key: Your key, if you have one.

        Returns:
            Problems, costs, and by which rule it is judged.
        """
        visitor, settings, problems = self._visitor(owner_key), self.services.limits(), list[Problem]()
        with collecting(problems):
            asked, deadline = read(document), time.monotonic() + PATIENCE_S
            arms = configs_of(asked)
            experiments.check_early(arms, settings)
            for config in arms.values():
                self.services.prepare(config, visitor, max(0.0, deadline - time.monotonic()))
            return _review(described(asked, settings))
        return {
            "possible": False, "problems": told(problems), "warnings": [], "n_runs": 0, "seconds": None, "arms": [], "claims": [],
            "rule": experiments.RULE, "methods": "",
        }  # fmt: skip

    def start_experiment(self, document: Document, prediction: str = "", owner_key: str = "") -> Begun:
        """Begin an experiment: every arm is trained with the same seeds, one of its runs waiting in the queue at a time, and its claims
        are judged by a rule that is stated beforehand.

        Args:
            document: The experiment, like those of /ready_experiments.
            prediction: What you expect of its first claim: lower, higher or same.
            owner_key: The key of an earlier run of yours, which then owns this too; left out, a new key is made.

        Returns:
            Its id, and the key that steers it and its runs.
        """
        given = {"prediction": text(prediction, "prediction", 20)} if prediction else {}
        key = key_of(owner_key)
        asked = read({**document, **given} if isinstance(document, dict) else document)
        return {"experiment_id": self.services.supervisor.submit_experiment(asked, self._visitor(key)), "owner_key": key}

    def experiment(self, experiment_id: str) -> Found:
        """What an experiment has found so far: its verdict, and the values behind it.

        Args:
            experiment_id: The experiment.

        Returns:
            The verdict with its numbers, and sentences that say it in words.
        """
        return self._found(experiment_id)

    async def wait_experiment(self, experiment_id: str, seconds: int = 30) -> Found:
        """Wait until an experiment is done or stopped, or some seconds are over, whichever comes first. Call it again while wanted is run.

        Args:
            experiment_id: The experiment.
            seconds: How long to wait at most, from 0 to 60.

        Returns:
            What it has found then, as /experiment.
        """
        wanted = text(experiment_id, "experiment_id", MAX_KEY)
        look = partial(self._fresh.get, (wanted,), lambda: self.db.experiment(wanted).wanted != RUN)
        await until(look, whole(seconds, "seconds", 0, MOST_WAIT_S))
        return self._found(wanted)

    def list_experiments(self) -> list[Listed]:
        """The experiments that were begun here, and whether each goes on; /experiment has what one has found.

        Returns:
            Newest first.
        """
        return [self._listed(each) for each in self.db.experiments()]

    def control_experiment(self, experiment_id: str, action: Literal["run", "stop", "delete"], owner_key: str) -> Steered:
        """Steer an experiment of yours.

        Args:
            experiment_id: The experiment.
            action: stop (its runs included), run (go on with what is missing), or delete (its runs stay).
            owner_key: The key of who began it.

        Returns:
            Its id.
        """
        if action not in (RUN, STOP, DELETE):
            raise ConfigError([Problem("action", f"{str(action)[:60]!r} is not possible; use {RUN}, {STOP} or {DELETE}")])
        supervisor, visitor = self.services.supervisor, self._visitor(owner_key)
        wanted = text(experiment_id, "experiment_id", MAX_KEY)
        supervisor.delete_experiment(wanted, visitor) if action == DELETE else supervisor.steer_experiment(wanted, visitor, action)
        return {"experiment_id": experiment_id}

    def _found(self, experiment_id: object) -> Found:
        found, plan = self._experiment(experiment_id)
        about = experiments.as_json(found.id, plan, experiments.result(self.db, found.id, plan))
        members = {run_id: asdict(member) for run_id, member in self.db.members(found.id).items()}
        held = self.services.supervisor.director.held.get(found.id, "")
        return cast(Found, about | {"wanted": found.wanted, "held": held, "members": members})

    def _experiment(self, experiment_id: object) -> tuple[store.Experiment, Plan]:
        found = self.db.experiment(text(experiment_id, "experiment_id", MAX_KEY))
        return found, self.services.supervisor.plans.of(found.id)

    def _listed(self, kept: store.Experiment) -> Listed:
        try:
            document = experiments.read(self.db, kept.id)
        except ConfigError as error:  # of another version, perhaps
            return {"experiment_id": kept.id, "title": "", "question": str(error), "wanted": kept.wanted}
        return {"experiment_id": kept.id, "title": document.title, "question": document.question, "wanted": kept.wanted}


def _review(found: dict) -> ExperimentReview:
    """What the page shows of it, without the drawings."""
    arms = [cast(ArmReview, {name: arm[name] for name in ArmReview.__annotations__}) for arm in found["arms"]]
    return {
        "possible": True, "problems": [], "warnings": found["warnings"], "n_runs": found["n_runs"], "seconds": found["seconds"],
        "arms": arms, "claims": [claim["words"] for claim in found["claims"]], "rule": found["rule"], "methods": found["methods"],
    }  # fmt: skip

"""Endpoints that begin, steer and remove runs."""

from functools import partial
from typing import Annotated, Literal, TypedDict

from models.knobs import ConfigError, Problem
from playground.runs import sampler
from playground.ui.api.part import MAX_KEY, UNCHANGED, Config, Part, key_of, merged, preset_named, text
from playground.workers.supervisor import Supervisor


class Started(TypedDict):
    run_id: Annotated[str, "the new run"]
    owner_key: Annotated[str, "the key that steers it and sees it where it is private; keep it, it is told only here"]


class Steered(TypedDict):
    run_id: Annotated[str, "the run; of continue, the new one"]


class Renamed(TypedDict):
    run_id: str
    name: Annotated[str, "as it is shown from now on"]


class Steering(Part):
    def start_run(
        self, config: Config = UNCHANGED, name: str = "", preset: str = "default", owner_key: str = "", private: bool = False
    ) -> Started:
        """Train a model: queue a run, which starts as soon as its turn has come. Everything that is wrong with it is reported at once, and
        nothing starts then. Refused as underway where its data are not ready within some seconds: call it again to go on waiting.

        Args:
            config: What is changed of the preset, by section and knob; /config_schema has every knob.
            name: What the run is called; left out, it is named after its preset and what differs from it.
            preset: The preset to begin with, one of /presets.
            owner_key: The key of an earlier run of yours, which then owns this one too; left out, a new key is made.
            private: True: only its owner and the host see it.

        Returns:
            The run's id, and the key that steers it.
        """
        base, key = preset_named(preset).config, key_of(owner_key)
        run_id = self.services.supervisor.submit(
            merged(base.model_dump(), config), self._visitor(key), name=text(name, "name", 200), preset=preset, private=private is True
        )
        return {"run_id": run_id, "owner_key": key}

    def fork_run(self, run_id: str, config: Config = UNCHANGED, step: int | None = None, name: str = "", owner_key: str = "") -> Started:
        """Queue a run that starts from the weights of another one's checkpoint, with something changed.

        Args:
            run_id: The run whose weights are taken over.
            config: What is changed of that run's configuration: whatever its weights allow, such as rate, schedule, steps or dropout.
            step: The step of the checkpoint, one of /checkpoints; left out, the newest.
            name: What the new run is called.
            owner_key: The key of an earlier run of yours, which then owns this one too; left out, a new key is made.

        Returns:
            The new run's id, and the key that steers it.
        """
        key = key_of(owner_key)
        run, at = self._run(run_id, key), sampler.parse_step(step)
        forked = self.services.supervisor.submit(
            merged(run.config.model_dump(), config), self._visitor(key), name=text(name, "name", 200), preset=run.preset,
            parent=run.id, parent_step=sampler.newest(self.root, run.id) if at is None else at,
        )  # fmt: skip
        return {"run_id": forked, "owner_key": key}

    def control_run(
        self, run_id: str, action: Literal["pause", "resume", "stop", "continue", "private", "public"], owner_key: str
    ) -> Steered:
        """Steer a run of yours.

        Args:
            run_id: The run.
            action: pause, resume, stop, continue (train it further as a new run), private (only owner and host see it) or public.
            owner_key: The key of the run's owner.

        Returns:
            The id of the run; of continue, that of the new one.
        """
        supervisor: Supervisor = self.services.supervisor
        actions = {
            "pause": supervisor.pause, "resume": supervisor.resume, "stop": supervisor.stop, "continue": supervisor.continue_run,
            "private": partial(supervisor.set_private, private=True), "public": partial(supervisor.set_private, private=False),
        }  # fmt: skip
        if not isinstance(action, str) or action not in actions:
            raise ConfigError([Problem("action", f"{str(action)[:60]!r} is not possible; use one of {', '.join(actions)}")])
        new = actions[action](text(run_id, "run_id", MAX_KEY), self._visitor(owner_key))
        return {"run_id": new or run_id}

    def rename_run(self, run_id: str, name: str, owner_key: str) -> Renamed:
        """Give a run of yours another name.

        Args:
            run_id: The run.
            name: Its new name.
            owner_key: The key of the run's owner.

        Returns:
            The id and the name as it is shown.
        """
        self.services.supervisor.rename(text(run_id, "run_id", MAX_KEY), self._visitor(owner_key), text(name, "name", 1000))
        return {"run_id": run_id, "name": self.db.run(run_id).name}

    def delete_run(self, run_id: str, owner_key: str) -> Steered:
        """Delete a run of yours that does not train, with all its files. This can't be undone.

        Args:
            run_id: The run.
            owner_key: The key of the run's owner.

        Returns:
            The id that is gone.
        """
        self.services.supervisor.delete(text(run_id, "run_id", MAX_KEY), self._visitor(owner_key))
        return {"run_id": run_id}

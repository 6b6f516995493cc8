"""Endpoints of what is learnt from: the built-in texts and tasks, and texts that people bring."""

from typing import Annotated, Literal, TypedDict

from models.knobs import ConfigError, Problem
from playground.config.presets import data_for
from playground.data import corpora, tasks
from playground.runs import uploads
from playground.ui.api.part import Part, Section, key_of, text


class DataSource(TypedDict):
    source: Annotated[str, "its name, for data.source of a config"]
    title: str
    about: Annotated[str, "what it is; of a task, the rule to learn"]
    kind: Annotated[Literal["text", "task", "own"], "own: brought with this key"]
    is_here: Annotated[bool, "whether it is on this machine; else a run fetches it from the Hugging Face Hub first"]
    settings: Annotated[Section, "of a task: the knobs of its section data, with the values it begins with"]


class Brought(TypedDict):
    source: Annotated[str, "for data.source of a config"]
    owner_key: Annotated[str, "the key that can delete it"]


class OwnText(TypedDict):
    source: Annotated[str, "for data.source of a config"]
    bytes: Annotated[int, "its size in UTF-8"]


class Deleted(TypedDict):
    source: Annotated[str, "the text that is gone"]


class Texts(Part):
    def data_sources(self, owner_key: str = "") -> list[DataSource]:
        """What a run can learn from: built-in texts, tasks with a known best loss, and your own texts. A file of a public dataset on the
        Hugging Face Hub is named hub:OWNER/NAME:PATH, of a table hub:OWNER/NAME:PATH:FIELD.

        Args:
            owner_key: Your key, to list the texts that you brought with it too.

        Returns:
            The texts first, then the tasks, then your own.
        """
        texts: list[DataSource] = [
            {"source": name, "title": corpora.title(name), "about": source.about, "kind": "text",
             "is_here": corpora.is_here(name, self.root), "settings": {}}
            for name, source in corpora.BUILT_IN.items()
        ]  # fmt: skip
        return [*texts, *(_of_task(name, task) for name, task in tasks.TASKS.items()), *map(_own, self._texts(owner_key))]

    def upload_text(self, text: str, owner_key: str = "") -> Brought:
        """Bring a text to train on. It is found by its content alone; a model trained on it may repeat it.

        Args:
            text: The text, at least a few thousand characters.
            owner_key: The key of an earlier run or text of yours; left out, a new key is made.

        Returns:
            Its name as a source, and the key that can delete it.
        """
        if not isinstance(text, str):
            raise ConfigError([Problem("text", "a text is needed")])
        key = key_of(owner_key)
        source = self.services.bring(self._visitor(key), [("the text", text.encode("utf-8", "surrogatepass"))])
        return {"source": source, "owner_key": key}

    def texts(self, owner_key: str) -> list[OwnText]:
        """The texts that you brought.

        Args:
            owner_key: The key with which they were brought.

        Returns:
            Oldest first.
        """
        return self._texts(owner_key)

    def delete_text(self, source: str, owner_key: str) -> Deleted:
        """Delete a text that you brought. One that a run trains on stays.

        Args:
            source: The text, as /upload_text and /texts name it.
            owner_key: The key with which it was brought.

        Returns:
            The source that is gone.
        """
        uploads.delete(self.db, self.root, self._visitor(owner_key), text(source, "source", 100))
        return {"source": source}

    def _texts(self, owner_key: object) -> list[OwnText]:
        visitor = self._visitor(owner_key)
        mine = self.db.uploads().get(visitor.id, {}) if visitor.is_known else {}
        return [{"source": source, "bytes": size} for source, size in mine.items()]


def _of_task(name: str, task: tasks.Task) -> DataSource:
    settings = {knob: value for knob, value in data_for(name).items() if knob in task.knobs}
    about = f"{task.rule} {task.about}"
    return {"source": name, "title": task.title, "about": about, "kind": "task", "is_here": True, "settings": settings}


def _own(mine: OwnText) -> DataSource:
    about = f"A text of yours, {mine['bytes']:,} bytes."
    return {
        "source": mine["source"], "title": corpora.title(mine["source"]), "about": about, "kind": "own", "is_here": True, "settings": {},
    }  # fmt: skip

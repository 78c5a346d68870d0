"""Models, searches and comparisons in MLflow: the only import of mlflow.

One run per trained model in one experiment, a registered version per task of the model, and aliases that say which
version is champion. Everything can be called again: a run is known by the artefact it was logged from, a kind and a
training partition, and is never logged twice; aliases only ever move forward in time.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import mlflow
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput as MlflowInput
from mlflow.entities import InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

from mktgen import model_card
from mktgen.documents import Promotion, TaskPromotion
from mktgen.errors import PermanentError, TransientError
from mktgen.model_roles import PROMOTED, hand_on, where
from mktgen.model_run import AliasMove, Input, Logged, ModelRun, PlainRun, Roles, identity

EXPERIMENT: Final = "mktgen-behaviour"
SEARCHES: Final = "mktgen-search"  # apart: hundreds of trials would hide the models that were trained for use
STRATEGIES: Final = "mktgen-strategies"
REGISTERED: Final = {task: f"mktgen-{task}" for task in model_card.DESCRIPTIONS}
_REQUIREMENTS: Final = ("numpy", "pandas", "polars", "pydantic", "safetensors", "scikit-learn", "scipy", "skops")
_PERMANENT: Final = frozenset(
    {"INVALID_PARAMETER_VALUE", "PERMISSION_DENIED", "UNAUTHENTICATED", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST"}
)


class TrackingRefused(PermanentError):
    """MLflow refused a request that would be refused again."""


class TrackingUnavailable(TransientError):
    """MLflow didn't answer, or answered with an error of its own."""


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """Turn MLflow's errors into ours: refused for good, or to be tried again."""
    try:
        yield
    except MlflowException as error:
        code = str(error.error_code)
        if code in _PERMANENT:
            raise TrackingRefused(f"MLflow refused to {what}: {error.message}") from error
        raise TrackingUnavailable(f"MLflow could not {what} ({code}): {error.message}; is the server up?") from error


class Tracking:
    """A connection to one MLflow server and its experiment. Made by `connect`."""

    def __init__(self, uri: str, client: mlflow.MlflowClient, experiment_id: str) -> None:
        self.uri = uri
        self.experiment_id = experiment_id
        self._client = client

    # -- runs ---------------------------------------------------------------------------------------------------------
    def log_model_run(self, run: ModelRun) -> Logged:
        """Log a model once: inputs, parameters, metrics, curves, plots, card, the model itself and its versions.

        Called again with the same identity it returns what is there; an attempt that ended halfway is replaced.
        Raises TrackingRefused or TrackingUnavailable.
        """
        with _errors(f"log {run.entry.kind} of {run.training_partition}"):
            known = self._finished(run)
            if known is not None:
                return known
            run_id = self._start(run)
            with mlflow.start_run(run_id=run_id):
                self._log_values(run_id, run)
                self._log_inputs(run_id, run.inputs)
                self._log_files(run_id, run)
                model = _log_pyfunc(run)
            versions = self._register(run_id, run, model)
            # Last: only a run with this tag counts as logged.
            self._client.set_tag(run_id, "mktgen.complete", model.model_uri)
        return Logged(run_id, model.model_uri, versions, created=True)

    def _finished(self, run: ModelRun) -> Logged | None:
        """The complete run of this identity; unfinished ones and their versions are deleted."""
        result = None
        for found in self._search(run.identity):
            versions = self._client.search_model_versions(f"run_id = '{found.info.run_id}'")
            model_uri = found.data.tags.get("mktgen.complete")
            if model_uri is not None and result is None:
                tasks = {name: task for task, name in REGISTERED.items()}
                numbers = {tasks[item.name]: str(item.version) for item in versions if item.name in tasks}
                result = Logged(found.info.run_id, model_uri, dict(sorted(numbers.items())), created=False)
                continue
            for item in versions:
                self._client.delete_model_version(item.name, item.version)
            self._client.delete_run(found.info.run_id)
        return result

    def _search(self, tags: Mapping[str, str]) -> list[Any]:
        """Active runs with these tags, oldest first (ties by id)."""
        found = self._client.search_runs([self.experiment_id], where(tags), max_results=1000)
        return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))

    def _start(self, run: ModelRun) -> str:
        tags = {
            **run.tags,
            **run.identity,
            "mktgen.tasks": ",".join(sorted(run.tasks)),
            "mktgen.evaluation_from": run.evaluation_from.isoformat(),
            "mktgen.evaluation_to": run.evaluation_to.isoformat(),
        }
        if run.git_commit:
            tags["mlflow.source.git.commit"] = run.git_commit
        tags |= _gate_tags(run)
        tags |= {
            f"mktgen.gate.{gate.name}": f"{model_card.OUTCOME[gate.passed]}: {gate.detail}" for gate in run.entry.gates
        }
        name = f"{run.entry.kind} {run.training_partition}"
        return str(self._client.create_run(self.experiment_id, tags=tags, run_name=name).info.run_id)

    def _log_values(self, run_id: str, run: ModelRun) -> None:
        values = [(name, value, 0) for name, value in sorted(run.entry.metrics.items())]
        gates = ((gate.name, gate.value) for gate in run.entry.gates if gate.value is not None)
        values += [(f"gate.{name}", value, 0) for name, value in sorted(gates)]
        for name, curve in sorted(run.entry.curves.items()):
            values += [(f"curve.{name}", value, point) for point, value in enumerate(curve, start=1)]
        self._log_numbers(run_id, values, run.entry.parameters)

    def _log_numbers(
        self, run_id: str, values: Sequence[tuple[str, float, int]], parameters: Mapping[str, object]
    ) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value, step in values]
        params = [Param(name, str(value)) for name, value in sorted(parameters.items())]
        for low in range(0, max(len(metrics), len(params)), 100):
            self._client.log_batch(run_id, metrics=metrics[low : low + 100], params=params[low : low + 100])

    def _log_inputs(self, run_id: str, inputs: Sequence[Input]) -> None:
        datasets, tags = [], []
        for item in inputs:
            # MLflow holds 36 characters of a digest; the whole one is in the run's tags and in the card.
            data = MetaDataset(resolve_dataset_source(item.uri), name=item.name, digest=item.sha256[:32])
            facts = [InputTag("mlflow.data.context", item.context), InputTag("mktgen.rows", str(item.rows))]
            datasets.append(MlflowInput(dataset=data._to_mlflow_entity(), tags=facts))
            tags.append(RunTag(f"mktgen.input.{item.name}", f"{item.sha256} {item.uri}"))
        self._client.log_inputs(run_id, datasets=datasets)
        self._client.log_batch(run_id, tags=tags)

    def _log_files(self, run_id: str, run: ModelRun) -> None:
        card = model_card.markdown(run)
        with tempfile.TemporaryDirectory() as folder:
            model_card.write(Path(folder) / "card", card, run)
            self._client.log_artifacts(run_id, str(Path(folder) / "card"))
        self._client.set_tag(run_id, "mlflow.note.content", card)

    # -- runs without a model: searches and comparisons -----------------------------------------------------------------
    def open_run(self, run: PlainRun) -> str:
        """The run of this identity, marked as running, for others to hang on; made where there is none."""
        with _errors(f"open {run.name}"):
            found = self._search(run.identity)
            if found:
                run_id = str(found[0].info.run_id)
                self._client.update_run(run_id, status="RUNNING")
                return run_id
            tags = {**run.tags, **run.identity}
            return str(self._client.create_run(self.experiment_id, tags=tags, run_name=run.name).info.run_id)

    def close_run(self, run_id: str, run: PlainRun) -> None:
        """Fill an open run and end it. Once more: what changed since is shown, equal parameters and inputs stay."""
        with _errors(f"log {run.name}"):
            self._log_numbers(run_id, run.metrics, run.params)
            if run.inputs:
                self._log_inputs(run_id, run.inputs)
            for name, text in sorted(run.files.items()):
                self._client.log_text(run_id, text, name)
            notes = {"mlflow.note.content": run.note} if run.note else {}
            for key, value in sorted({**run.tags, **notes}.items()):
                self._client.set_tag(run_id, key, value)
            self._client.set_tag(run_id, "mktgen.complete", "yes")
            self._client.set_terminated(run_id, run.status)

    def page(self, run_id: str) -> str:
        return f"{self.uri.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{run_id}"

    def log_once(self, run: PlainRun, parent: str = "") -> str:
        """Log a run, under another where one is given, once; an attempt that ended halfway is replaced."""
        with _errors(f"log {run.name}"):
            for found in self._search(run.identity):
                if "mktgen.complete" in found.data.tags:
                    return str(found.info.run_id)
                self._client.delete_run(found.info.run_id)
        under = {"mlflow.parentRunId": parent} if parent else {}
        run_id = self.open_run(replace(run, tags={**run.tags, **under}))
        self.close_run(run_id, run)
        return run_id

    def amend(self, run: PlainRun) -> bool:
        """Add to a logged run of this identity what became known since; what is there already is not logged again.

        Metrics, tags, files and the note of `run` count. False: no such run was logged here.
        """
        with _errors(f"amend {run.name}"):
            logged = [found for found in self._search(run.identity) if "mktgen.complete" in found.data.tags]
            if not logged:
                return False
            run_id, known = str(logged[0].info.run_id), logged[0].data
            self._log_numbers(run_id, [new for new in run.metrics if known.metrics.get(new[0]) != new[1]], {})
            for name, text in sorted(run.files.items()):
                self._client.log_text(run_id, text, name)
            notes = {"mlflow.note.content": run.note} if run.note else {}
            changed = {key: value for key, value in {**run.tags, **notes}.items() if known.tags.get(key) != value}
            self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in sorted(changed.items())])
        return True

    def tags(self, tagged: Mapping[str, str], name: str) -> dict[str, str]:
        """run id -> value of a tag, of the runs with these tags that have it."""
        with _errors(f"read {name}"):
            found = self._search(tagged)
        return {str(run.info.run_id): str(run.data.tags[name]) for run in found if name in run.data.tags}

    # -- registry -----------------------------------------------------------------------------------------------------
    def _register(self, run_id: str, run: ModelRun, model: Any) -> dict[str, str]:
        versions = {}
        # Spend is measured and used by nobody yet: nothing to promote, so no registered model.
        for task in sorted(run.tasks & REGISTERED.keys()):
            self._registered(task)
            made = self._client.create_model_version(
                REGISTERED[task],
                model.model_uri,
                run_id=run_id,
                tags=run.identity | _gate_tags(run),
                description=f"{run.entry.kind}, trained for {run.training_partition}",
                model_id=model.model_id,
                await_creation_for=0,  # the artefacts are there already
            )
            versions[task] = str(made.version)
        return versions

    def _registered(self, task: str) -> Any:
        """The registered model of a task, created where it isn't there yet."""
        name = REGISTERED[task]
        try:
            return self._client.create_registered_model(name, description=model_card.DESCRIPTIONS[task])
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return self._client.get_registered_model(name)

    def promote(self, promotion: Promotion, artefact_run: str) -> list[AliasMove]:
        """Set champion, challenger and rollback on both registered models as the comparison decided.

        champion: the winner's version of this training partition, or the one kept from an earlier one. rollback: the
        version that was champion before. challenger: the version that lost; none where it won. A partition older than
        the last promoted one moves nothing. Applied again it changes nothing. Raises TrackingRefused where a version
        isn't registered.
        """
        with _errors(f"promote the models of {promotion.training_partition}"):
            return [
                self._promote_task(decided, promotion.training_partition, artefact_run)
                for decided in (promotion.ranking, promotion.customer)
            ]

    def _promote_task(self, decided: TaskPromotion, partition: date, artefact_run: str) -> AliasMove:
        name = REGISTERED[decided.task]
        registered = self._registered(decided.task)
        before = {alias: str(number) for alias, number in registered.aliases.items()}
        last = registered.tags.get(PROMOTED, "")
        if last > partition.isoformat():
            reason = f"nothing moved: {last} was promoted already and {partition} is older"
            return AliasMove(decided.task, name, False, before, reason)
        if decided.kept_from is None:
            champion = self._version(name, artefact_run, decided.champion, partition)
        else:
            champion = self._version(name, None, decided.champion, decided.kept_from)
        self._tag_version(name, champion, decided, "champion")
        previous = before.get("champion")
        if previous is not None and previous != champion:
            self._client.set_registered_model_alias(name, "rollback", previous)
        self._client.set_registered_model_alias(name, "champion", champion)
        self._set_challenger(name, decided, partition, artefact_run, before)
        self._client.set_registered_model_tag(name, "mktgen.reason", decided.reason)
        # Last, so that a promotion that ended halfway is applied again.
        self._client.set_registered_model_tag(name, PROMOTED, partition.isoformat())
        after = {alias: str(number) for alias, number in self._client.get_registered_model(name).aliases.items()}
        return AliasMove(decided.task, name, True, after, decided.reason)

    def _set_challenger(
        self, name: str, decided: TaskPromotion, partition: date, artefact_run: str, before: Mapping[str, str]
    ) -> None:
        if decided.challenger != decided.champion:
            challenger = self._version(name, artefact_run, decided.challenger, partition)
            self._tag_version(name, challenger, decided, "challenger")
            self._client.set_registered_model_alias(name, "challenger", challenger)
        elif "challenger" in before:
            self._client.delete_registered_model_alias(name, "challenger")

    def _version(self, name: str, artefact_run: str | None, kind: str, partition: date) -> str:
        """The newest version of a kind for a training partition, of any artefact run where `artefact_run` is None."""
        tags = identity(artefact_run or "", kind, partition)
        wanted = where({key: value for key, value in tags.items() if value})
        found = self._client.search_model_versions(f"name = '{name}' and {wanted}")
        if not found:
            raise TrackingRefused(
                f"{name} has no version of {kind} for {partition} (artefact {artefact_run or 'any'}); log the models first"
            )
        return str(max(int(item.version) for item in found))

    def _tag_version(self, name: str, number: str, decided: TaskPromotion, role: str) -> None:
        facts = {"role": role, "reason": decided.reason, "metric": decided.metric}
        if decided.difference is not None:
            facts["difference"] = json.dumps(decided.difference.model_dump(), sort_keys=True)
        for key, value in sorted(facts.items()):
            self._client.set_model_version_tag(name, number, f"mktgen.promotion.{key}", value)

    def hand_on(self, roles: Roles) -> AliasMove:
        """Set the aliases of one registered model as decided for a partition; an older one moves nothing.

        The rule stands in the tag mktgen.rule. A version that was never logged here gets no alias, and `reason` says so.
        """
        name = REGISTERED[roles.task]
        with _errors(f"hand on {name} of {roles.partition}"):
            return hand_on(self._client, name, dict(self._registered(roles.task).tags), roles)

    def keep_prompt(self, name: str, text: str) -> str:
        """The version of a text in MLflow's prompt registry: a new one only where the text has changed."""
        with _errors(f"keep the prompt {name}"):
            newest = self._client.load_prompt(name, allow_missing=True, cache_ttl_seconds=0)
            if newest is None or newest.template != text:
                newest = self._client.register_prompt(name, text, commit_message="as the code has it now")
            return str(newest.version)

    def runs_of(self, training_partition: date) -> dict[str, str]:
        """kind -> run id of the models logged for a training partition (the newest where it was trained again)."""
        with _errors(f"find the runs of {training_partition}"):
            found = self._search({"mktgen.training_partition": training_partition.isoformat()})
        complete = [run for run in found if "mktgen.complete" in run.data.tags]
        return dict(sorted((run.data.tags["mktgen.kind"], str(run.info.run_id)) for run in complete))


def connect(uri: str, name: str = EXPERIMENT) -> Tracking:
    """Connect to a tracking server and make sure of the experiment. Raises TrackingUnavailable or TrackingRefused."""
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    with _errors(f"open the experiment {name} at {uri}"):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return Tracking(uri, client, str(client.create_experiment(name)))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                experiment = client.get_experiment_by_name(name)
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
    return Tracking(uri, client, str(experiment.experiment_id))


def _gate_tags(run: ModelRun) -> dict[str, str]:
    return {"mktgen.gates": model_card.verdict(run.entry.gates)} if run.entry.gates else {}


def _log_pyfunc(run: ModelRun) -> Any:
    """Log the saved directory as a pyfunc model of the active run; nothing is unpickled to load it."""
    requirements = [f"{name}=={version(name).split('+')[0]}" for name in (*_REQUIREMENTS, *run.packages)]
    signature = ModelSignature(
        inputs=Schema([ColSpec("string", "table"), ColSpec("string", "record")]),
        params=ParamSchema(
            [ParamSpec("cut", "string", ""), ParamSpec("task", "string", ""), ParamSpec("k", "long", 10)]
        ),
    )
    with warnings.catch_warnings():
        # No input example: it would be customers' rows, and the signature is given.
        warnings.filterwarnings("ignore", message=".*input example was not provided", category=UserWarning)
        return mlflow.pyfunc.log_model(
            name=run.entry.kind,
            loader_module=run.loader,
            data_path=str(run.directory),
            pip_requirements=requirements,
            signature=signature,
            tags=run.identity,
        )

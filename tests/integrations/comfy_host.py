"""Runs our node pack as ComfyUI does: on its documented contract, or on ComfyUI itself where COMFYUI names its folder."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PACK = Path(__file__).parents[2] / "integrations" / "comfyui"
COMFYUI = os.environ.get("COMFYUI")
Prompt = dict[str, dict[str, Any]]
"""A workflow in the API format: node → class_type and inputs."""


@dataclass
class Outcome:
    """What came of a workflow."""

    values: dict[str, list[Any]] = field(default_factory=dict)
    """Node → its outputs."""
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Node → what it shows in the page."""
    error: str | None = None
    """What the node that failed shows."""
    interrupted: bool = False


def widgets_of(inputs: list[tuple[str, str, dict[str, Any]]]) -> list[tuple[str | None, Any]]:
    """Return (name, default) of each value in `widgets_values`; None for what the page adds.

    Args:
        inputs: (name, type, options) of each input.
    """
    found: list[tuple[str | None, Any]] = []
    for name, io_type, given in inputs:
        if io_type in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
            found.append((name, given.get("default")))
            if given.get("control_after_generate"):
                found.append((None, "randomize"))
            if given.get("image_upload"):
                found.append((None, "image"))
    return found


class ContractHost:
    """The contract in `comfy_contract`."""

    def __init__(self, base: Path) -> None:
        import comfy_contract

        self.contract, self.base = comfy_contract, base
        self.state = comfy_contract.install(base)
        self.nodes: dict[str, Any] = comfy_contract.core_nodes()
        self.pack = load_pack()
        self.own = asyncio.run(self._own_nodes())
        self.nodes |= self.own

    async def _own_nodes(self) -> dict[str, Any]:
        entrypoint = self.pack.comfy_entrypoint
        extension = await entrypoint() if inspect.iscoroutinefunction(entrypoint) else entrypoint()
        assert isinstance(extension, self.contract.ComfyExtension)
        return {node.define_schema().node_id: node for node in await extension.get_node_list()}

    def inputs_of(self, class_type: str) -> list[tuple[str, str, dict[str, Any]]]:
        """Return (name, type, options) of each input of a node."""
        found = []
        for each in self.nodes[class_type].define_schema().inputs:
            given = {"default": each.default} if each.is_widget else {}
            given["control_after_generate"] = getattr(each, "control_after_generate", None)
            given["image_upload"] = getattr(each, "upload", None) is not None
            found.append((each.id, ",".join(sorted(each.types)), given))
        return found

    def outputs_of(self, class_type: str) -> list[str]:
        """Return the types of a node's outputs."""
        return [each.io_type for each in self.nodes[class_type].define_schema().outputs]

    def run(self, prompt: Prompt) -> Outcome:
        """Validate and execute a workflow."""
        outcome = Outcome()
        for name, node in prompt.items():
            outcome.error = outcome.error or self._refuse(prompt, name, node)
        if outcome.error is not None:
            return outcome
        for name, node in prompt.items():
            if self.nodes[node["class_type"]].define_schema().is_output_node:
                self._execute(prompt, name, outcome)
        return outcome

    def _refuse(self, prompt: Prompt, name: str, node: dict[str, Any]) -> str | None:
        """Return why an input makes no sense, before anything is executed."""
        schema = self.nodes[node["class_type"]].define_schema()
        has_own_check = hasattr(self.nodes[node["class_type"]], "validate_inputs")
        inputs = {each.id: each for each in schema.inputs}
        if unknown := node["inputs"].keys() - inputs.keys():
            raise AssertionError(f"{schema.node_id} has no inputs {unknown}")
        for key, each in inputs.items():
            value = node["inputs"].get(key)
            if value is None:
                assert each.optional, f"{schema.node_id} lacks {key}"
            elif isinstance(value, list):
                given = self.outputs_of(prompt[value[0]]["class_type"])[value[1]]
                assert given in each.types, f"{schema.node_id}.{key} takes {each.types}, not {given}"
            elif not has_own_check:
                node["inputs"][key] = each.check(value)
        if has_own_check:
            said = self.nodes[node["class_type"]].validate_inputs(**node["inputs"])
            return None if said is True else str(said)
        return None

    def _execute(self, prompt: Prompt, name: str, outcome: Outcome) -> list[Any] | None:
        """Return a node's outputs; None where it, or one before it, cannot run."""
        if name in outcome.values or outcome.error or outcome.interrupted:
            return outcome.values.get(name)
        node_class, given = self.nodes[prompt[name]["class_type"]], {}
        for key, value in prompt[name]["inputs"].items():
            if isinstance(value, list):
                before = self._execute(prompt, value[0], outcome)
                if before is None:
                    return None
                value = before[value[1]]
                if isinstance(value, self.contract.ExecutionBlocker):
                    outcome.error = f"Execution Blocked: {value.message}"
                    return None
            given[key] = value
        if hasattr(node_class, "fingerprint_inputs"):
            node_class.fingerprint_inputs(**{key: value for key, value in given.items() if isinstance(value, str)})
        try:
            result = node_class.execute(**given)
        except self.contract.InterruptProcessingException:
            outcome.interrupted = True
            return None
        except Exception as error:
            outcome.error = str(error)
            return None
        types = self.outputs_of(prompt[name]["class_type"])
        assert len(result.args) == len(types)
        for io_type, value in zip(types, result.args, strict=True):
            self.contract.check_value(io_type, value, f"{prompt[name]['class_type']}: {io_type}")
        outcome.values[name] = list(result.args)
        if result.ui is not None:
            outcome.shown[name] = result.ui
        return outcome.values[name]

    def interrupt(self) -> None:
        """Press Stop."""
        self.state.interrupted = True

    def record_progress(self, monkeypatch: Any) -> list[tuple[int, int]]:
        """Return the list that the positions of the bar are added to."""
        steps: list[tuple[int, int]] = []
        monkeypatch.setattr(self.contract.ProgressBar, "steps", steps)
        return steps


class ComfyHost:
    """ComfyUI in this process: its loader, validation and executor."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.base = base
        sys.path.insert(0, str(folder))
        args = importlib.import_module("comfy.cli_args").args
        args.cpu, args.base_directory = True, str(base)
        importlib.import_module("utils.extra_config")  # before `nodes`, which puts another `utils` on the path
        names = ("execution", "folder_paths", "nodes", "server")
        execution, folder_paths, nodes, server = (importlib.import_module(name) for name in names)
        self._execution, self._nodes = execution, nodes
        for name in ("input", "output", "temp"):
            (base / name).mkdir(parents=True, exist_ok=True)
            getattr(folder_paths, f"set_{name}_directory")(str(base / name))
        folder_paths.models_dir = str(base / "models")
        loop = asyncio.new_event_loop()
        server.PromptServer(loop)
        loop.run_until_complete(nodes.init_extra_nodes(init_custom_nodes=False, init_api_nodes=False))
        before = set(nodes.NODE_CLASS_MAPPINGS)
        assert loop.run_until_complete(nodes.load_custom_node(str(PACK), module_parent="custom_nodes"))
        self.own = {name: nodes.NODE_CLASS_MAPPINGS[name] for name in nodes.NODE_CLASS_MAPPINGS.keys() - before}
        self.pack = sys.modules[str(PACK).replace(".", "_x_")]

    def inputs_of(self, class_type: str) -> list[tuple[str, str, dict[str, Any]]]:
        """As ContractHost."""
        found = []
        for group in ("required", "optional"):
            for name, (io_type, *more) in (
                self._nodes.NODE_CLASS_MAPPINGS[class_type].INPUT_TYPES().get(group, {}).items()
            ):
                given = dict(more[0]) if more else {}
                if isinstance(io_type, list):
                    given, io_type = {"default": io_type[0]} | given, "COMBO"
                found.append((name, str(io_type), given))
        return found

    def outputs_of(self, class_type: str) -> list[str]:
        """As ContractHost."""
        return [str(each) for each in self._nodes.NODE_CLASS_MAPPINGS[class_type].RETURN_TYPES]

    def run(self, prompt: Prompt) -> Outcome:
        """As ContractHost."""
        outcome = Outcome()
        good, error, outputs, node_errors = asyncio.run(self._execution.validate_prompt("test", prompt, None))
        if node_errors or not good:
            reasons = [reason for node in node_errors.values() for reason in node["errors"]]
            outcome.error = reasons[0]["details"] if reasons else str(error)
            return outcome
        sent: list[tuple[str, Any]] = []
        server = SimpleNamespace(
            client_id="test",
            last_node_id=None,
            last_prompt_id=None,
            sockets_metadata={},
            send_sync=lambda event, data, client=None: sent.append((event, data)),
        )
        executor = self._execution.PromptExecutor(
            server, cache_type=self._execution.CacheType.CLASSIC, cache_args={"lru": 0, "ram": 0}
        )
        executor.execute(prompt, "test", {"client_id": "test"}, outputs)
        for name in prompt:
            entry = executor.caches.outputs.get(name)
            if entry is not None:
                outcome.values[name] = [values[0] for values in entry.outputs or []]
        outcome.shown = executor.history_result["outputs"]
        for event, data in [*sent, *executor.status_messages]:
            if event == "execution_error":
                outcome.error = data["exception_message"].strip()
            outcome.interrupted |= event == "execution_interrupted"
        return outcome

    def interrupt(self) -> None:
        """As ContractHost."""
        self._nodes.interrupt_processing()

    def record_progress(self, monkeypatch: Any) -> list[tuple[int, int]]:
        """As ContractHost."""
        steps: list[tuple[int, int]] = []
        monkeypatch.setattr(
            sys.modules["comfy.utils"],
            "PROGRESS_BAR_HOOK",
            lambda value, total, preview, node_id=None: steps.append((value, total)),
        )
        return steps


def load_pack() -> Any:
    """Import the pack as ComfyUI does, by its folder."""
    name = str(PACK).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, PACK / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(base: Path) -> ContractHost | ComfyHost:
    """Return the host; one a process."""
    return ComfyHost(Path(COMFYUI), base) if COMFYUI else ContractHost(base)


def to_api(workflow: dict[str, Any], host: ContractHost | ComfyHost) -> Prompt:
    """Return the API format of a workflow that the page stored, as the page makes it when it runs one."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt: Prompt = {}
    for node in workflow["nodes"]:
        if node["type"] in ("MarkdownNote", "Note"):
            continue
        names = [name for name, _ in widgets_of(host.inputs_of(node["type"]))]
        values = node.get("widgets_values", [])
        assert len(values) == len(names), f"{node['type']} has {len(values)} of {len(names)} values"
        inputs = {name: value for name, value in zip(names, values, strict=True) if name is not None}
        inputs |= {each["name"]: links[each["link"]] for each in node["inputs"] if each.get("link") is not None}
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt

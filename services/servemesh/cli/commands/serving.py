"""`servemesh deploy`, `undeploy` and `infer`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.markup import escape

from servemesh.cli import output
from servemesh.cli.options import Address, AsJson, ModelName, Target, connected, split_target
from servemesh.client import InferResult, Tensor
from servemesh.errors import InvalidError
from servemesh.tensors import datatypes

_VALUES_SHOWN = 20


def deploy(
    target: Target,
    address: Address,
    replicas: Annotated[
        int | None,
        typer.Option(min=0, max=1000, help="Workers that hold it; 0: loaded on demand.", show_default="2"),
    ] = None,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Return when it answers calls, at most so long.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Have a model served."""
    model, version = split_target(target)
    with connected(address) as client, output.err.status(f"deploying {target}"):
        found = client.deploy(model, version=version, replicas=replicas, wait_s=wait)
    if as_json:
        output.print_json(found)
        return
    workers = "1 worker holds it" if found.ready_replicas == 1 else f"{found.ready_replicas} workers hold it"
    output.out.print(
        f"{found.model} is {output.state_text(found.state)}: version {output.shares(found.traffic)}; {workers}"
    )


def undeploy(name: ModelName, address: Address, as_json: AsJson = False) -> None:
    """Have a model served no more; calls under way are finished."""
    with connected(address) as client:
        client.undeploy(name)
    if as_json:
        output.print_json({"undeployed": name})
    else:
        output.out.print(f"{name} is no longer served")


def infer(
    target: Target,
    address: Address,
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            help="INPUT=@file.npy, or INPUT='\\[\\[1,2]]' as JSON; INPUT= can be left out if there is one.",
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.001, help="Deadline of the call.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Run a model on arrays and print its outputs."""
    model, version = split_target(target)
    with connected(address) as client:
        signature = {
            tensor.name: tensor for tensor in client.inputs(model, version=version, timeout_s=timeout)
        }
        if signature and not input_:
            raise _missing(model, signature)
        arrays = dict(_parsed(text, signature) for text in input_ or ())
        result = client.infer(model, arrays, version=version, timeout_s=timeout)
    if as_json:
        output.print_json(_as_json(result))
        return
    for name, array in result.items():
        output.out.print(
            f"[bold]{escape(name)}[/bold] {datatypes.of_array(array).name} {escape(str(list(array.shape)))}",
            soft_wrap=True,
        )
        output.out.print(np.array2string(array, threshold=_VALUES_SHOWN, precision=6), markup=False)


def _parsed(text: str, signature: dict[str, Tensor]) -> tuple[str, Any]:
    """Return name and array of one -i option."""
    name, separator, value = text.partition("=")
    if not separator or (len(signature) == 1 and name not in signature and _is_json(text)):
        if len(signature) != 1:
            raise _malformed(text, f"INPUT=VALUE, where INPUT is one of {', '.join(signature)}")
        name, value = next(iter(signature)), text
    if value.startswith("@"):
        return name, _loaded(Path(value[1:]))
    try:
        found = json.loads(value)
    except ValueError as error:
        raise _malformed(text, f"JSON after {name}=, or @ and the path of an .npy file ({error})") from None
    tensor = signature.get(name)
    dtype = datatypes.named(tensor.datatype).dtype if tensor else None
    try:
        array = np.array(found, dtype=dtype)
        # numpy would cut 2.5 down to 2, and take any text for true.
        is_whole = not array.size or array.dtype.kind not in "iub" or np.array(found).dtype.kind in "iub"
    except (ValueError, TypeError, OverflowError):
        is_whole = False
    if not is_whole:
        kind = tensor.datatype if tensor else "numbers"
        raise _malformed(text, f"a rectangular array of {kind}")
    return name, array


def _loaded(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise _malformed(f"@{path}", "an .npy file that exists") from None
    except (ValueError, OSError):
        raise _malformed(f"@{path}", "an .npy file without Python objects, as numpy.save writes it") from None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _missing(model: str, signature: dict[str, Tensor]) -> InvalidError:
    takes = output.signature(tuple(signature.values()))
    return InvalidError(
        f"no input was given; {model} takes {takes}. Give each as -i INPUT=@file.npy or -i INPUT=JSON",
        reason="OPTION_MALFORMED",
        field="-i",
        expected=takes,
    )


def _malformed(got: str, expected: str) -> InvalidError:
    return InvalidError(
        f"-i is {got[:200]!r}, expected {expected}",
        reason="OPTION_MALFORMED",
        field="-i",
        expected=expected,
        got=got[:200],
    )


def _as_json(result: InferResult) -> dict[str, Any]:
    outputs = {
        name: {"datatype": datatypes.of_array(array).name, "shape": list(array.shape), "data": array}
        for name, array in result.items()
    }
    return {"model": result.model, "version": result.version, "id": result.id, "outputs": outputs}

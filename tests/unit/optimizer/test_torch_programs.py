"""A torch.export program is read as data: whatever in it would run when torch reads it is taken out or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from servemesh.errors import InvalidError
from servemesh.optimizer.domain.torch_programs import checked_payload, checked_program

LIST = {"type": "builtins.list", "context": "null", "children_spec": []}


def a_spec(**changes: Any) -> str:
    return json.dumps([1, {**LIST, **changes}])


def a_program(**node: Any) -> dict[str, Any]:
    linear = {
        "target": "torch.ops.aten.linear.default",
        "inputs": [{"name": "input", "arg": {"as_tensor": {"name": "x"}}, "kind": 1}],
        "outputs": [{"as_tensor": {"name": "linear"}}],
        "metadata": {"stack_trace": "File /home/me/secret.py", "nn_module_stack": "a,b,c"},
        **node,
    }
    size = {"as_expr": {"expr_str": "Max(1, s77//2 + 3)", "hint": {"as_int": 4}}}
    return {
        "graph_module": {
            "graph": {
                "nodes": [linear],
                "tensor_values": {"x": {"sizes": [size], "device": {"type": "cuda", "index": 0}}},
            },
            "signature": {"input_specs": [{"parameter": {"parameter_name": "layers.0.weight"}}]},
            "module_call_graph": [{"fqn": "", "signature": {"in_spec": a_spec(), "out_spec": a_spec()}}],
            "metadata": {"custom": "{}"},
        },
        "range_constraints": {"s77": {"min_val": 1, "max_val": None}},
        "guards_code": ["__import__('os').system('id')"],
    }


def checked(program: dict[str, Any]) -> dict[str, Any]:
    return json.loads(checked_program(json.dumps(program).encode()))


def refusal_of(program: dict[str, Any]) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        checked(program)
    return caught.value


def test_guards_metadata_and_devices_are_left_out():
    program = checked(a_program())
    module = program["graph_module"]
    assert program["guards_code"] == []
    assert module["metadata"] == {}
    assert module["graph"]["nodes"][0]["metadata"] == {}
    assert module["graph"]["tensor_values"]["x"]["device"] == {"type": "cpu", "index": None}


@pytest.mark.parametrize(
    "operator",
    [
        "torch.load",
        "torch.hub.load",
        "torch.ops.aten.from_file.default",
        "torch.ops.load_library",
        "torch.ops.mine.magic.default",
        "torch.serialization.os.system",
        "_operator.attrgetter",
        "_operator.methodcaller",
        "math.__loader__.load_module",
        "#mine:magic",
        "torch.ops.aten.linear.default\nimport os",
    ],
)
def test_an_operator_that_is_not_one_of_torchs_own_is_named(operator):
    refusal = refusal_of(a_program(target=operator))
    assert refusal.reason == "OPERATOR_UNSUPPORTED"
    assert refusal.metadata["field"] == operator


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('id')",
        "s0.__class__",
        "().__class__",
        "s0 if open else s1",
        "[s0 for s0 in s1]",
        "exec",
        "s0.func(1)",
        "1 .real",
        "s0;s1",
        "Max" * 1_000,
        "Symbol('s0').func",
        "Symbol('__import__')",
        "Symbol('s0', positive=open)",
        "Symbol('s0' if 1 else 's1')",
        "openSymbol('s0')",
    ],
)
def test_a_size_that_is_not_arithmetic_is_refused(expression):
    program = a_program()
    program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = expression
    assert refusal_of(program).reason == "CODE_REFUSED"


@pytest.mark.parametrize(
    "expression",
    [
        "s0",
        "8*s77",
        "FloorDiv(s0, 2) + 1",
        "Mod(s0, 4)",
        "s0**2",
        "1.5*zf0",
        "s0 - 1",
        "Add(Mul(Integer(2), Symbol('s40', positive=True, integer=True)), Integer(-1))",
        "Mul(Float('1.5', precision=53), Symbol('s40'))",
    ],
)
def test_arithmetic_of_sizes_is_let_through(expression):
    program = a_program()
    program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = expression
    checked(program)


@pytest.mark.parametrize("name", ["x=__import__('os')", "a b", "x)\n", "ü", "9x"])
def test_a_name_that_python_would_not_give_is_refused(name):
    program = a_program(outputs=[{"as_tensor": {"name": name}}])
    assert refusal_of(program).reason == "CODE_REFUSED"
    program = a_program()
    program["graph_module"]["graph"]["tensor_values"][name] = {}
    assert refusal_of(program).reason == "CODE_REFUSED"


def test_a_weight_whose_name_is_code_is_refused():
    program = a_program()
    program["graph_module"]["signature"]["input_specs"][0]["parameter"]["parameter_name"] = 'a"); print("b'
    assert refusal_of(program).reason == "CODE_REFUSED"


def test_an_object_of_its_own_class_is_refused():
    program = a_program(inputs=[{"name": "x", "arg": {"as_custom_obj": {"name": "o", "class_fqn": "C"}}}])
    assert refusal_of(program).reason == "CODE_REFUSED"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (
            a_spec(type="collections.defaultdict", context={"default_factory_module": "os"}),
            "SOURCE_UNSUPPORTED",
        ),
        (a_spec(type="transformers.modeling_outputs.BaseModelOutput"), "SOURCE_UNSUPPORTED"),
        (a_spec(context='{"__enum__": true, "fqn": "os:x"}'), "CODE_REFUSED"),
        (a_spec(type="builtins.dict", context='["a=1"]'), "CODE_REFUSED"),
        (a_spec(type="builtins.dict", context='[{"__enum__": true, "fqn": "os:x"}]'), "CODE_REFUSED"),
        ("[2, {}]", "SOURCE_UNREADABLE"),
        ("no json", "SOURCE_UNREADABLE"),
    ],
)
def test_arguments_and_results_are_lists_tuples_and_dicts(spec, reason):
    program = a_program()
    program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = spec
    assert refusal_of(program).reason == reason


def test_what_is_no_program_is_unreadable():
    for raw in (b"", b"[]", b"{}", b"\xff", b"[" * 100_000):
        with pytest.raises(InvalidError) as caught:
            checked_program(raw)
        assert caught.value.reason == "SOURCE_UNREADABLE"


def a_weight(**changes: Any) -> bytes:
    entry = {
        "path_name": "weight_0",
        "use_pickle": False,
        "tensor_meta": {"sizes": [{"as_int": 1}]},
        **changes,
    }
    return json.dumps({"config": {"layers.0.weight": entry}}).encode()


def test_a_plain_weight_is_let_through():
    checked_payload(a_weight(), "weights")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"use_pickle": True}, "PICKLE_REFUSED"),
        ({"use_pickle": None}, "PICKLE_REFUSED"),
        ({"tensor_meta": None}, "PICKLE_REFUSED"),
        ({"path_name": "../../weight_0"}, "SOURCE_UNREADABLE"),
    ],
)
def test_a_pickled_weight_is_refused(changes, reason):
    with pytest.raises(InvalidError) as caught:
        checked_payload(a_weight(**changes), "weights")
    assert caught.value.reason == reason

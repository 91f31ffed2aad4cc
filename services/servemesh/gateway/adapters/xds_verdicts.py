"""How Envoy reads the answers of workers, before it decides what to make of them, as xDS messages."""

from __future__ import annotations

from importlib import resources
from typing import TypeAlias

import grpc
from envoy.config.common.matcher.v3 import matcher_pb2
from envoy.config.core.v3 import base_pb2, extension_pb2
from envoy.extensions.common.matching.v3 import extension_matcher_pb2
from envoy.extensions.filters.common.matcher.action.v3 import skip_action_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.type.matcher.v3 import http_inputs_pb2
from google.protobuf.message import Message

from servemesh.gateway.adapters import xds_values as xds
from servemesh.rpc.edge import LONG_KEY

Predicate: TypeAlias = matcher_pb2.Matcher.MatcherList.Predicate

STATUS = "grpc-status"
DETAILS = "grpc-status-details-bin"  # no error of ours comes without
# Envoy holds neither against a worker: to it the one is no failure, and the other nothing to try again.
STRANGE = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.RESOURCE_EXHAUSTED)


def reading_filters() -> list[hcm_pb2.HttpFilter]:
    """Return what holds answers back until they are whole, but for long ones, and then turns strange bare ones into
    UNAVAILABLE: what gives them is broken, or no worker of ours. The filter before the codec sees an answer first.
    """
    return [
        _filter("strange_answers", _unless(_or(_not(_is_strange()), _has(DETAILS)), _status_set())),
        _filter("whole_answer", _unless(_has(LONG_KEY), _extension(xds.LUA, _script("whole_answer")))),
        _filter("envoy.filters.http.upstream_codec", upstream_codec_pb2.UpstreamCodec()),
    ]


def _script(name: str) -> lua_pb2.Lua:
    source = (resources.files("servemesh.gateway") / "edge" / f"{name}.lua").read_text()
    return lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=source))


def _status_set() -> extension_pb2.TypedExtensionConfig:
    mutation = header_mutation_pb2.HeaderMutation()
    status = mutation.mutations.response_mutations.add().append
    status.header.key = STATUS
    status.header.value = str(grpc.StatusCode.UNAVAILABLE.value[0])
    status.append_action = base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS
    return _extension("envoy.filters.http.header_mutation", mutation)


def _unless(
    condition: Predicate, extension: extension_pb2.TypedExtensionConfig
) -> extension_matcher_pb2.ExtensionWithMatcher:
    skip = matcher_pb2.Matcher.OnMatch(action=_extension("skip", skip_action_pb2.SkipFilter()))
    rule = matcher_pb2.Matcher.MatcherList.FieldMatcher(predicate=condition, on_match=skip)
    return extension_matcher_pb2.ExtensionWithMatcher(
        extension_config=extension,
        matcher=matcher_pb2.Matcher(matcher_list=matcher_pb2.Matcher.MatcherList(matchers=[rule])),
    )


def _is_strange() -> Predicate:
    return _or(*(_header(STATUS, exact=str(code.value[0])) for code in STRANGE))


def _has(name: str) -> Predicate:
    predicate = _header(name, exact="")
    predicate.single_predicate.value_match.safe_regex.regex = ".+"
    return predicate


def _header(name: str, *, exact: str) -> Predicate:
    source = _extension("header", http_inputs_pb2.HttpResponseHeaderMatchInput(header_name=name))
    predicate = Predicate(single_predicate=Predicate.SinglePredicate(input=source))
    predicate.single_predicate.value_match.exact = exact
    return predicate


def _or(*predicates: Predicate) -> Predicate:
    return Predicate(or_matcher=Predicate.PredicateList(predicate=predicates))


def _not(predicate: Predicate) -> Predicate:
    return Predicate(not_matcher=predicate)


def _filter(name: str, config: Message) -> hcm_pb2.HttpFilter:
    return hcm_pb2.HttpFilter(name=name, typed_config=xds.packed(config))


def _extension(name: str, config: Message) -> extension_pb2.TypedExtensionConfig:
    return extension_pb2.TypedExtensionConfig(name=name, typed_config=xds.packed(config))

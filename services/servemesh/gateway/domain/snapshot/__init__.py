"""The edge's tables as plain values: what Envoy shall do, in no format of Envoy's."""
